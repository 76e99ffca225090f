"""The benchmarks of drawing and of the full size: what they count and what they ask of the workflow."""

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from jsonschema import Draft202012Validator

from msdiff.config_files import merged_config
from msdiff.synthesis.long_ms_diff.follow_ups import Draw

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def path():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield
    sys.path.remove(str(ROOT / "benchmarks"))
    for name in ("sampling", "gpu_long_ms_diff"):
        sys.modules.pop(name, None)


def test_the_networks_operations_are_counted_as_by_hand():
    sampling = import_module("sampling")
    # 249 billion multiplications, each with an addition; 149 PFLOP for 15,000 follow-ups in 20 steps.
    flops = sampling.flops_of(sampling.generator("paper"), 256)
    assert flops == pytest.approx(2 * 249e9, rel=0.001)
    assert 15_000 * 20 * flops == pytest.approx(149.4e15, rel=0.001)


def test_both_draw_the_same_images_by_ddim():
    sampling = import_module("sampling")
    settings = sampling.generator("demo")
    torch.manual_seed(0)
    denoiser = sampling.Denoiser(settings).eval()
    torch.nn.init.normal_(denoiser.last, std=0.02)
    draw, inputs = Draw(denoiser, sampling.STATISTICS, settings, CPU), sampling.follow_up_inputs(2, 32)
    theirs = sampling.monai(denoiser.network.unet, draw, inputs, sampling.DDIMScheduler, 5)()
    ours = sampling.ours(draw, inputs, "ddim", 5)()
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tiny", [True, False])
@pytest.mark.parametrize("cohort", ["phantom", "open_ms"])
def test_the_full_size_run_asks_for_what_the_schema_allows(tiny, cohort):
    benchmark = import_module("gpu_long_ms_diff")
    arguments = argparse.Namespace(tiny=tiny, steps=4000, real_steps=1000, micro_batches=2)
    asked = {
        "phantom": lambda: benchmark.phantom(arguments),
        "open_ms": lambda: benchmark.open_ms(arguments, Path("/scans.tsv"), Path("/weights.safetensors")),
    }[cohort]()
    config = merged_config(asked, size="demo" if tiny else "paper")
    schema = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert [error.message for error in Draft202012Validator(schema).iter_errors(config)] == []
    generator = config["synthesis"]["long_ms_diff"]
    assert generator["training"]["steps"] == (4 if tiny else {"phantom": 4000, "open_ms": 1000}[cohort])
    assert (generator["pretrained"] is None) == (cohort == "phantom")
    split = config["cohort"][cohort]["split"]
    if cohort == "phantom":
        arms = config["cohort"][cohort]["phantom"]["arms"]
        assert split["train"] + split["validation"] + split["test"] == sum(arms.values())
