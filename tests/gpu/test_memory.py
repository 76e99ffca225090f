"""Each preset of memory fits the accelerators that it is for, in the training and the sampling of each system."""

import sys
from pathlib import Path

import pytest
import torch
import yaml

from msdiff.config_files import merged_config

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore"),
]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def benchmarks():
    """The benchmark that knows the systems, and the one that measures memory."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import gpu
        import memory

        yield gpu, memory
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.mark.parametrize("preset", sorted((ROOT / "profiles/memory").glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("system", ["long_ms_diff", "net2"])
def test_a_memory_preset_fits_its_accelerator(preset, system, benchmarks):
    gpu, memory = benchmarks
    limit = 0.95e9 * gpu.gigabytes(preset)
    if torch.cuda.get_device_properties(0).total_memory < limit:
        pytest.skip(f"a device of less than {preset.stem}")
    config = merged_config(yaml.safe_load(preset.read_text()), size="paper")
    steps = gpu.SYSTEMS[system].memory(config)
    assert {name: step for name, step in steps.items() if memory.measured(step.prepare).peak >= limit} == {}
