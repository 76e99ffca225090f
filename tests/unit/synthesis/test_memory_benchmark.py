from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from msdiff.config_files import merged_config

ROOT = Path(__file__).parents[3]
KIB = 1024


@pytest.fixture(scope="module")
def memory():
    spec = spec_from_file_location("memory_benchmark", ROOT / "benchmarks/memory.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_peak_is_what_is_alive_at_once(memory):
    with FakeTensorMode():
        kept = torch.zeros(KIB // 4)
        with memory.Alive([kept, kept.view(2, -1)]) as alive:
            first = torch.zeros(2 * KIB // 4)
            second = first * 2
            assert alive.bytes == 5 * KIB
            del first, second
            assert alive.bytes == KIB
            view = torch.zeros(KIB // 4)[:10]
            assert alive.bytes == 2 * KIB
        assert alive.peak == 5 * KIB
        assert view.numel() == 10


def test_a_sample_more_costs_the_same_each_time_and_sampling_less_than_training(memory):
    config = merged_config(size="paper")
    config["synthesis"]["long_ms_diff"]["network"] = {
        "channels": [32, 32], "residual_blocks": 1, "attention": [False, False], "head_channels": 8, "norm_groups": 4,
    }  # fmt: skip
    config["synthesis"]["long_ms_diff"]["auxiliary"]["maximum_time"] = 1.0

    def peak(step, rows):
        return memory.computed(partial(memory.prepared, step, config, rows, 64))

    trained = [peak(memory.train_step, rows) for rows in (4, 8, 12)]
    assert trained[2] - trained[1] == pytest.approx(trained[1] - trained[0], rel=0.02)
    assert 0 < peak(memory.sampling_step, 8) < 0.5 * trained[1]
