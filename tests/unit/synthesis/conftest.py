"""A small stack of patients, and settings of a tiny generator."""

import copy

import pytest
import torch
from small_stack import simulate_stack

from msdiff.networks.detectors import build
from msdiff.networks.weights import save_weights

SETTINGS = {
    "generator": "long_ms_diff",
    "seed": 0,
    "contrast": "flair",
    "conditions": ["baseline", "change_mask", "scalars"],
    "target": {"backend": "follow_up", "options": {}},
    "pretrained": None,
    "positive_fraction": 0.5,
    "scalars": "scan",
    "flip": 0.5,
    "dropout": {"baseline": 0.5, "baseline_mode": "noise", "guidance": 0.0},
    "network": {
        "channels": [8, 8],
        "residual_blocks": 1,
        "attention": [False, False],
        "head_channels": 8,
        "norm_groups": 4,
    },
    "objective": {
        "prediction": "v",
        "schedule": {"backend": "cosine", "options": {"offset": 0.008, "logsnr_min": -20.0, "logsnr_max": 20.0}},
        "weight": {"backend": "min_snr", "options": {"gamma": 5.0}},
        "error": "l2",
        "lesion_factor": 3.0,
        "loss_scale": 1.0,
    },
    "variance": {"backend": "fixed", "options": {}},
    "auxiliary": {
        "maximum_time": 0.6,
        "balance": {"backend": "kendall", "options": {"reconstruction": 0.02, "segmentation": 1.0}},
    },
    "training": {
        "steps": 4,
        "batch_size": 4,
        "micro_batches": 1,
        "learning_rate": 0.01,
        "weight_decay": 0.0,
        "warm_up_steps": 1,
        "decay": "none",
        "ema_decay": 0.9,
        "clip_norm": 1.0,
        "precision": "fp32",
        "log_every": 2,
        "checkpoint_every": 2,
        "validate_every": 0,
        "keep": "last",
    },
    "preview": {
        "every": 0,
        "pairs": 2,
        "sampler": {
            "sampler": {"backend": "dpm_solver_2m", "options": {"spacing": "t", "clip": [-1.0, 1.0]}},
            "steps": 2,
            "guidance_weight": 0.0,
        },
    },
}

SAMPLER = {
    "sampler": {"backend": "dpm_solver_2m", "options": {"spacing": "t", "clip": [-1.0, 1.0]}},
    "steps": 2,
    "guidance_weight": 0.0,
}

PLAN = {
    "seed": 0,
    "scalars": "scan",
    "mass": {
        "count": 8,
        "donor": "other_patient",
        "slice_window": 1,
        "minimum_surviving_fraction": 0.3,
        "tries": 100,
        "placement": {
            "white_matter_margin_mm": 3.0,
            "largest_shift_mm": 12.0,
            "mirror": 0.0,
            "largest_rotation_degrees": 0.0,
            "largest_scale": 1.0,
        },
    },
    "held_out": {"split": "test", "slices_per_pair": 2},
}


def changed(settings, **changes):
    """Settings with keys replaced; a double underscore goes one level down."""
    settings = copy.deepcopy(settings)
    for path, value in changes.items():
        *above, last = path.split("__")
        section = settings
        for key in above:
            section = section[key]
        section[last] = value
    return settings


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    return simulate_stack(tmp_path_factory.mktemp("synthesis") / "stack")


@pytest.fixture(scope="session")
def detector_path(tmp_path_factory):
    options = {"widths": [4, 4], "convolutions": [1, 1], "dropout": 0.0}
    torch.manual_seed(0)
    description = {"kind": "detector", "architecture": "unet", "network": options, "contrast": "flair"}
    path = tmp_path_factory.mktemp("detector") / "weights.safetensors"
    save_weights(build("unet", options).state_dict(), description, path)
    return path


@pytest.fixture(scope="session")
def make_stack():
    return simulate_stack


@pytest.fixture(scope="session")
def given():
    """The settings above, with changes: given("plan", seed=1), given("generator", dropout__guidance=0.2)."""
    sections = {"generator": SETTINGS, "sampler": SAMPLER, "plan": PLAN}
    return lambda section, **changes: changed(sections[section], **changes)


@pytest.fixture(scope="session")
def generator_path(tmp_path_factory, stack, detector_path):
    """Weights of a generator trained for a few steps, for guided sampling too."""
    from msdiff.synthesis.long_ms_diff.task import train_generator

    folder = tmp_path_factory.mktemp("generator")
    settings = changed(SETTINGS, dropout__guidance=0.2)
    trained = train_generator(stack, settings, detector_path, folder / "checkpoints", None, torch.device("cpu"))
    save_weights(trained.tensors, trained.description, folder / "weights.safetensors")
    return folder / "weights.safetensors"
