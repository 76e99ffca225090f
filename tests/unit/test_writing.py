import errno
import os
import resource
import signal

import numpy as np
import pytest

from msdiff.errors import CannotWrite
from msdiff.images import Volume, save
from msdiff.writing import whole_file, whole_folder


@pytest.fixture
def small_disk():
    """Files cannot grow beyond 64 KiB, as on a disk with no more room."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_file_appears_whole(tmp_path):
    with whole_file(tmp_path / "new" / "a.txt") as temporary:
        temporary.write_text("done")
        assert not (tmp_path / "new" / "a.txt").exists()
    assert (tmp_path / "new" / "a.txt").read_text() == "done"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_failed_file_leaves_the_old_one(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half():
        with whole_file(target) as temporary:
            temporary.write_text("half")
            raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_folder_replaces_folder(tmp_path):
    target = tmp_path / "out"
    for text in ("one", "two"):
        with whole_folder(target) as temporary:
            (temporary / text).write_text(text)
    assert [path.name for path in target.iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [target]


def test_failed_folder_leaves_the_old_one(tmp_path):
    target = tmp_path / "out"
    with whole_folder(target) as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(FileNotFoundError), whole_folder(target) as temporary:
        (temporary / "no" / "folder").write_text("half")
    assert (target / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


# nibabel leaves the handle it could not flush to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_full_disk_leaves_the_old_image(tmp_path, small_disk):
    target = tmp_path / "a.nii"
    small = Volume(np.ones((8, 8, 8), np.float32), np.eye(4))
    save(small, target)
    before = target.read_bytes()
    with pytest.raises(CannotWrite, match=r"cannot write .*a\.nii: .*an older file is kept"):
        save(Volume(np.ones((64, 64, 64), np.float32), np.eye(4)), target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_full_disk_leaves_the_old_folder(tmp_path, small_disk):
    target = tmp_path / "out"
    with whole_folder(target) as temporary:
        np.save(temporary / "a.npy", np.ones(8))
    with pytest.raises(CannotWrite, match="cannot write"), whole_folder(target) as temporary:
        np.save(temporary / "a.npy", np.ones(100_000))
    np.testing.assert_array_equal(np.load(target / "a.npy"), np.ones(8))
    assert list(tmp_path.iterdir()) == [target]


def test_disk_that_fails_to_flush_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWrite, match="No space left on device"), whole_file(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "old"


def test_other_errors_pass(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a.txt"):
        (tmp_path / "nothing").read_text()
