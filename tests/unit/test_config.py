"""Every size asks for networks that can be built, and for numbers that fit each other."""

import numpy as np
import pytest
import torch

from msdiff.config_files import SIZES, chosen, laid_over, merged_config
from msdiff.networks import detectors
from msdiff.networks.pseudo_2d import ControlledUNet, Pseudo2DSettings, SlabSizes
from msdiff.networks.slice_encoder import SliceEncoder, SliceEncoderSettings
from msdiff.settings import check
from msdiff.synthesis.long_ms_diff.denoiser import Denoiser
from msdiff.synthesis.long_ms_diff.options import LongMSDiffSettings

pytestmark = pytest.mark.parametrize("size", SIZES)


def test_the_generators_and_the_auxiliary_detector_of_a_size_can_be_built(size):
    section = merged_config(size=size)["synthesis"]
    variants = [
        laid_over(section["ablation"]["common"], changes) for changes in section["ablation"]["variants"].values()
    ]
    with torch.device("meta"):
        for changes in [{}, *variants]:
            Denoiser(check(LongMSDiffSettings, chosen(laid_over(section["long_ms_diff"], changes))))
        detector = section["auxiliary"]["detector"]
        detectors.build(detector["architecture"], detector["network"])


def test_the_detectors_of_a_size_can_be_built(size):
    with torch.device("meta"):
        for detector in merged_config(size=size)["detection"]["detectors"].values():
            detectors.build(detector["architecture"], detector["network"])


def test_the_networks_of_the_forecasts_of_a_size_can_be_built(size):
    section = merged_config(size=size)["forecasting"]
    options = chosen(section["network"])["options"]
    sizes = SlabSizes(section["slabs"]["slices"], 1, 2 * len(section["slabs"]["images"]) + 1, len(section["arms"]))
    with torch.device("meta"):
        ControlledUNet(check(Pseudo2DSettings, options), sizes)


def test_the_copy_detector_of_a_size_can_be_built(size):
    section = merged_config(size=size)["privacy"]
    with torch.device("meta"):
        SliceEncoder(check(SliceEncoderSettings, section["embedding"]["network"]), section["slices"]["side"])


def test_the_embedded_patients_of_a_size_are_those_of_its_split(size):
    cohort = merged_config(size=size)["cohort"]["phantom"]
    split = cohort["split"]
    assert sum(cohort["phantom"]["arms"].values()) == sum(split[name] for name in ("train", "validation", "test"))


def test_the_smallest_lesions_of_a_size_are_larger_than_a_voxel(size):
    """What one voxel may be by chance is no lesion; and the strata of sizes begin above it."""
    config = merged_config(size=size)
    voxel_mm3 = float(np.prod(config["preprocess"]["grid"]["spacing_mm"]))
    smallest = config["detection"]["scoring"]["min_lesion_volume_mm3"]
    assert config["preprocess"]["stack"]["min_change_volume_mm3"] >= voxel_mm3
    assert smallest >= voxel_mm3
    assert config["tables"]["lesion_size_edges_mm3"][0] > smallest


def test_trainings_of_a_size_save_and_warm_up_before_they_end(size):
    """At the papers' size and at any smaller one."""

    def trainings(values):
        if isinstance(values, dict):
            if {"steps", "checkpoint_every"} <= set(values):
                yield values
            for value in values.values():
                yield from trainings(value)

    found = list(trainings(merged_config(size=size)))
    assert len(found) >= 7
    assert all(0 <= each.get("warm_up_steps", 0) < each["steps"] for each in found)
    assert all(each["checkpoint_every"] <= each["steps"] for each in found)
