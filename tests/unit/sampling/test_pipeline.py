import threading

import pytest

from msdiff.sampling.pipeline import pipelined


def test_parts_are_written_in_order_and_few_are_held():
    held, most, written = set(), [], []

    def read(part):
        held.add(part)
        most.append(len(held))
        return 10 * part

    def write(part, inputs, outputs):
        written.append((part, inputs, outputs))
        held.discard(part)

    pipelined(range(20), read, lambda inputs: inputs + 1, write)
    assert written == [(part, 10 * part, 10 * part + 1) for part in range(20)]
    assert max(most) <= 4


def test_the_next_is_read_and_the_last_written_while_one_is_computed():
    # Each of the three waits for the others: one after the other they would never meet.
    meeting = threading.Barrier(3, timeout=10)

    def read(part):
        if part == 2:
            meeting.wait()
        return part

    def compute(inputs):
        if inputs == 1:
            meeting.wait()
        return inputs

    def write(part, inputs, outputs):
        if part == 0:
            meeting.wait()

    pipelined([0, 1, 2], read, compute, write)
    assert not meeting.broken


@pytest.mark.parametrize("where", ["read", "compute", "write"])
def test_an_error_anywhere_is_raised_and_ends_the_work(where):
    written = []

    def fail(name, part):
        if name == where and part == 1:
            raise ValueError(name)
        return part

    def write(part, inputs, outputs):
        fail("write", part)
        written.append(part)

    with pytest.raises(ValueError, match=where):
        pipelined([0, 1, 2, 3], lambda part: fail("read", part), lambda inputs: fail("compute", inputs), write)
    assert 3 not in written


def test_nothing_to_do_is_done():
    pipelined([], None, None, None)
