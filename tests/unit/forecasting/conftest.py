"""Slabs of a few made-up patients, and a forecaster whose denoiser is known in closed form."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torch import Tensor

from msdiff.diffusion.noise import alpha, expand, load_schedule, sigma
from msdiff.diffusion.sampler import SamplerSettings, noise_like, sample
from msdiff.forecasting.slabs import Slabs, load_slabs

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
    patients.to_csv(folder / "patients.tsv", sep="\t", index=False)
    slab = {
        "shape": SHAPE[::-1],
        "affine": np.diag([1.0, 1.0, 3.0, 1.0]).tolist(),
        "sessions": ["w000", "w048", "w096"],
        "channels": CHANNELS,
        "arms": ARMS,
    }
    (folder / "slab.json").write_text(json.dumps(slab))
    return load_slabs(folder)


class GaussianForecaster:
    """Every voxel is normal about its first image less a third for each arm's place: the best denoiser is linear.

    `noises` keeps what each call began from.
    """

    channels = tuple(CHANNELS)
    arms = tuple(ARMS)
    shape = SHAPE
    sha256 = "0" * 64

    def __init__(self) -> None:
        self.description = {"model": "two_sessions", "patients": ["sub-pl0"]}
        self.schedule = load_schedule("cosine", {"offset": 0.008, "logsnr_min": -10.0, "logsnr_max": 10.0})
        self.noises: list[Tensor] = []

    def __call__(self, images: Tensor, arms: Tensor, seeds: Sequence[int], sampler: SamplerSettings) -> Tensor:
        """See msdiff.forecasting.drawing.Forecaster."""
        mean = images[:, 0] - expand(arms.float(), images[:, 0]) / 3

        def denoise(z: Tensor, logsnr: Tensor) -> Tensor:
            a, s = (expand(part(logsnr), z) for part in (alpha, sigma))
            return mean + a * DEVIATION**2 * (z - a * mean) / (a**2 * DEVIATION**2 + s**2)

        noise = noise_like(images.shape[2:], seeds)
        self.noises.append(noise)
        options = sampler.sampler.options
        return sample(denoise, noise, self.schedule, sampler.sampler.backend, sampler.steps, options, seeds)


@pytest.fixture(scope="session")
def made_slabs(tmp_path_factory: pytest.TempPathFactory) -> Slabs:
    """The made-up slabs."""
    return write_made_slabs(tmp_path_factory.mktemp("forecasting") / "slabs")


@pytest.fixture
def gaussian() -> GaussianForecaster:
    """A new forecaster in closed form."""
    return GaussianForecaster()


@pytest.fixture
def drawing_options() -> dict[str, object]:
    """Settings of draw-forecasts, as plain values."""
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
