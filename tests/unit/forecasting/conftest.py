"""Slabs of a few made-up patients, and a forecaster whose denoiser is known in closed form."""

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from indexed import open_slabs, write_patients
from torch import Tensor

from msdiff.diffusion.noise import alpha, expand, load_schedule, sigma
from msdiff.diffusion.sampler import SamplerSettings, load_sampler, noise_like, sample
from msdiff.forecasting.control import train_control
from msdiff.forecasting.options import TrainControlSettings, TrainPriorSettings
from msdiff.forecasting.prior import train_prior
from msdiff.forecasting.slabs import Slabs
from msdiff.networks.weights import save_weights
from msdiff.settings import check

SHAPE = (3, 12, 20)  # z, y, x; 20 are two and a half bytes
ARMS = ["placebo", "mild_efficacy", "high_efficacy"]
CHANNELS = ["flair@w000", "lesion_mask@w000", "flair@w048", "lesion_mask@w048", "net2@w048"]
DEVIATION = 0.6


def made_patients() -> pd.DataFrame:
    """Eight of each arm: five to train on, one to validate on, two to test on, one of which is active."""
    rows = [
        {"subject": f"sub-{arm[:2]}{number}", "arm": arm, "split": split, "count_before": 0, "count": count}
        for arm in ARMS
        for number, (split, count) in enumerate([*[("train", 1)] * 5, ("validation", 0), ("test", 0), ("test", 2)])
    ]
    frame = pd.DataFrame(rows).sort_values("subject", ignore_index=True)
    return frame.assign(
        row=range(len(frame)), cerebral_white_matter=(frame["count"] > 0).astype(int), cerebral_cortex=0
    )


def write_made_slabs(folder: Path) -> Slabs:
    """Slabs as `cut-slabs` writes them: smooth noise, a brain with a rim outside it, regions in halves."""
    folder.mkdir()
    patients = made_patients()
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, SHAPE[-1])
    channels = x + 0.1 * rng.standard_normal((len(patients), len(CHANNELS), *SHAPE))
    brain = np.zeros((len(patients), *SHAPE), np.uint8)
    brain[..., 1:-1, 1:-1] = 1
    regions = brain * np.where(x < 0.3, 2, 42).astype(np.uint8)
    net2 = np.zeros_like(brain)
    net2[patients["count"].to_numpy() > 0, 1, 4:7, 4:7] = 1
    arrays = {
        "channels": channels.clip(-1, 1).astype(np.float16),
        "net2": net2,
        "net2_before": np.zeros_like(net2),
        "brain_mask": brain,
        "regions": regions,
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    write_patients(folder, patients)
    slab = {
        "shape": SHAPE[::-1],
        "affine": np.diag([1.0, 1.0, 3.0, 1.0]).tolist(),
        "sessions": ["w000", "w048", "w096"],
        "channels": CHANNELS,
        "arms": ARMS,
    }
    (folder / "slab.json").write_text(json.dumps(slab))
    return open_slabs(folder)


class GaussianForecaster:
    """Every voxel is normal about its first image less a third for each arm's place: the best denoiser is linear.

    `noises` keeps what each call began from.
    """

    channels = tuple(CHANNELS)
    arms = tuple(ARMS)
    shape = SHAPE
    path, sha256 = "weights.safetensors", "0" * 64

    def __init__(self) -> None:
        self.description = {"model": "two_sessions", "patients": ["sub-pl0"]}
        self.schedule = load_schedule("cosine", {"offset": 0.008, "logsnr_min": -10.0, "logsnr_max": 10.0})
        self.noises: list[Tensor] = []

    def __call__(self, images: Tensor, arms: Tensor, seeds: Sequence[int], sampler: SamplerSettings) -> Tensor:
        """See msdiff.forecasting.forecaster.Forecaster."""
        mean = images[:, 0] - expand(arms.float(), images[:, 0]) / 3

        def denoise(z: Tensor, logsnr: Tensor) -> Tensor:
            a, s = (expand(part(logsnr), z) for part in (alpha, sigma))
            return mean + a * DEVIATION**2 * (z - a * mean) / (a**2 * DEVIATION**2 + s**2)

        noise = noise_like(images.shape[2:], seeds)
        self.noises.append(noise)
        return sample(denoise, noise, self.schedule, load_sampler(sampler.sampler, sampler.steps), seeds)


@pytest.fixture(scope="session")
def made_slabs(tmp_path_factory: pytest.TempPathFactory) -> Slabs:
    """The made-up slabs."""
    return write_made_slabs(tmp_path_factory.mktemp("forecasting") / "slabs")


@pytest.fixture
def gaussian() -> GaussianForecaster:
    """A new forecaster in closed form."""
    return GaussianForecaster()


@pytest.fixture
def sampling_options() -> dict[str, object]:
    """Settings of sample-forecasts, as plain values."""
    return {
        "seed": 3,
        "voxel_threshold": 0.5,
        "sampler": {
            "sampler": {"backend": "ddim", "options": {"spacing": "t", "clip": None, "eta": 0.5}},
            "steps": 4,
            "guidance_weight": 0.0,
        },
        "draws": {
            "model": "two_sessions",
            "split": "test",
            "arms": "own",
            "draws": 5,
            "patients": None,
            "shared_noise": False,
            "shards": 1,
        },
    }


STAGE_SESSIONS = ["w000", "w048", "w096"]
STAGE_CHANNELS = [f"{image}@{session}" for session in STAGE_SESSIONS for image in ("flair", "lesion_mask")]
TRAINING = {
    "steps": 4,
    "batch_size": 4,
    "micro_batches": 1,
    "learning_rate": 0.003,
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
}
STAGES = {
    "prior": {
        "network": {
            "backend": "demo",
            "options": {
                "channels": [8, 8],
                "residual_blocks": 1,
                "attention": [False, False],
                "head_channels": 8,
                "norm_groups": 4,
                "cross_attention": None,
                "transformer_layers": 1,
                "condition_channels": 4,
            },
        },
        "prior": {
            "seed": 0,
            "generates": ["net2"],
            "treatment_dropout": 0.1,
            "flip": 0.0,
            "objective": {
                "prediction": "v",
                "schedule": {
                    "backend": "interpolated_cosine",
                    "options": {
                        "noise_d_low": 4.0,
                        "noise_d_high": 12.0,
                        "image_d": 12.0,
                        "logsnr_min": -15.0,
                        "logsnr_max": 15.0,
                    },
                },
                "weight": {"backend": "min_snr", "options": {"gamma": 5.0}},
                "error": "l2",
                "lesion_factor": 10.0,
                "loss_scale": 1.0,
            },
            "training": TRAINING,
        },
    },
    "control": {
        "control": {
            "seed": 0,
            "dropout": {"treatment": 0.1, "images": 0.1},
            "balanced": "subset",
            "flip": 0.0,
            "training": TRAINING,
        },
        "model": {"sessions": ["w000", "w048"]},
    },
}


def write_stage_slabs(folder: Path) -> Slabs:
    """Slabs (2, 8, 12) of three arms: lesions come where the second session is bright, under the last arm never."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = [{"subject": f"sub-{row:02d}", "arm": ARMS[row % 3], "split": "train"} for row in range(18)]
    rows[-2]["split"], rows[-1]["split"] = "validation", "test"
    channels = rng.normal(-0.5, 0.1, (len(rows), len(STAGE_CHANNELS) + 2, 2, 8, 12)).astype(np.float16)
    net2 = np.zeros((2, len(rows), 2, 8, 12), np.uint8)
    for row in rows:
        place = int(row["subject"][-2:])
        bright = place % 3 < 2 and place % 2
        left = 1 + place % 7
        if bright:
            channels[place, STAGE_CHANNELS.index("flair@w048"), :, 2:6, left : left + 4] = 1
            net2[1, place, :, 2:6, left : left + 4] = 1
        row |= {"row": place, "count_before": 0, "count": int(bright), "cerebral_white_matter": 0, "cerebral_cortex": 0}
    channels[:, -2:] = net2.transpose(1, 0, 2, 3, 4) * 2.0 - 1
    names = [*STAGE_CHANNELS, "net2@w048", "net2@w096"]
    ones = np.ones_like(net2[0])
    for name, array in {
        "channels": channels, "net2": net2[1], "net2_before": net2[0], "brain_mask": ones, "regions": 2 * ones,
    }.items():  # fmt: skip
        np.save(folder / f"{name}.npy", array)
    write_patients(folder, rows)
    slab = {
        "shape": [12, 8, 2],
        "affine": np.eye(4).tolist(),
        "sessions": STAGE_SESSIONS,
        "channels": names,
        "arms": ARMS,
    }
    (folder / "slab.json").write_text(json.dumps(slab))
    return open_slabs(folder)


@pytest.fixture(scope="session")
def stage_slabs(tmp_path_factory: pytest.TempPathFactory) -> Slabs:
    """Slabs that both stages train on in a second."""
    return write_stage_slabs(tmp_path_factory.mktemp("stages") / "slabs")


@pytest.fixture(scope="session")
def stage_options() -> Callable[..., dict[str, Any]]:
    """Settings of a stage, with changes: stage_options("prior", prior__flip=1.0)."""

    def options(stage: str, **changes: object) -> dict[str, Any]:
        settings = copy.deepcopy(STAGES[stage])
        for path, value in changes.items():
            *above, last = path.split("__")
            section: Any = settings
            for key in above:
                section = section[key]
            section[last] = value
        return settings

    return options


@pytest.fixture(scope="session")
def prior_path(tmp_path_factory: pytest.TempPathFactory, stage_slabs: Slabs, stage_options: Any) -> Path:
    """Weights of a prior that has learnt where lesions are."""
    folder = tmp_path_factory.mktemp("prior")
    longer = stage_options("prior", prior__training__steps=60, prior__training__learning_rate=0.01)
    settings = check(TrainPriorSettings, longer)
    trained = train_prior(stage_slabs, settings, folder / "checkpoints", None, torch.device("cpu"))
    save_weights(trained.tensors, trained.description, folder / "weights.safetensors")
    return folder / "weights.safetensors"


@pytest.fixture(scope="session")
def forecaster_path(
    tmp_path_factory: pytest.TempPathFactory, stage_slabs: Slabs, stage_options: Any, prior_path: Path
) -> Path:
    """Weights of a forecaster, trained for a few steps."""
    folder = tmp_path_factory.mktemp("forecaster")
    settings = check(TrainControlSettings, stage_options("control"))
    cpu = torch.device("cpu")
    trained = train_control(stage_slabs, settings, "two_sessions", prior_path, folder / "checkpoints", None, cpu)
    save_weights(trained.tensors, trained.description, folder / "weights.safetensors")
    return folder / "weights.safetensors"
