"""Stage 1: the distribution of NET2 masks under each treatment, without a patient's images.

Favero et al., arXiv 2508.07006 (2025), section 2: a UNet (msdiff.networks.pseudo_2d) denoises slabs of the last
session's NET2 masks, or of images and masks together. Now and then the arm is the null arm, so that draws can be guided
away from what all arms have in common. All patients of the training split are chosen equally often.

The loss is that of msdiff.diffusion.objective ("up-weight NET2 lesion areas by a factor of 10", section 3). Its lesions
are the mask before the label blur: the blurred one has no border of its own.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from msdiff.diffusion.guidance import dropped, without
from msdiff.diffusion.objective import Objective
from msdiff.forecasting.options import PriorSettings, TrainPriorSettings
from msdiff.forecasting.reading import Reader, generated_channels, training_patients
from msdiff.forecasting.slabs import Slabs
from msdiff.forecasting.stages import ARRAYS, denoising_loss, fill
from msdiff.networks.compiled import Call, When
from msdiff.networks.pseudo_2d import Pseudo2DSettings, Pseudo2DUNet, SlabSizes
from msdiff.networks.weights import load_weights_of
from msdiff.settings import check
from msdiff.stack.reading import digest_of_rows
from msdiff.training import Trained, initialised, on_device, train

log = logging.getLogger(__name__)

KIND = "lesion_prior"


class PriorTask:
    """The training task of stage 1."""

    def __init__(self, slabs: Slabs, settings: TrainPriorSettings) -> None:
        prior = settings.prior
        self.patients = training_patients(slabs)
        self.generated = generated_channels(slabs, prior.generates)
        self.read = Reader(slabs, self.patients, self.generated, flip=prior.flip)
        self.treatment_dropout = prior.treatment_dropout
        self.objective = Objective(prior.objective)
        self.indices: NDArray[np.int64] = np.arange(len(self.patients))
        self.weights: NDArray[np.float64] = np.ones(len(self.patients))
        network = check(Pseudo2DSettings, settings.network.options, f"network {settings.network.backend}")
        self.null_arm = len(slabs.arms)
        sizes = SlabSizes(slabs.grid.shape[2], len(self.generated), 0, len(slabs.arms))
        self.network: nn.Module = initialised(lambda: Pseudo2DUNet(network, sizes), prior.seed)
        self.modules: nn.Module = self.network
        self.compiled: Call | None = None

    def batch(self, indices: NDArray[np.int64], generator: np.random.Generator) -> dict[str, Tensor]:
        """See msdiff.forecasting.reading.Reader."""
        return self.read(indices, generator)

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """See msdiff.forecasting.stages.denoising_loss."""
        x, arm = batch["x"], batch["arm"]
        rng = on_device(generator, x.device)
        arm = without(arm, torch.full_like(arm, self.null_arm), dropped(len(x), self.treatment_dropout, rng))
        call = self.compiled or self.network
        return denoising_loss(self.objective, lambda *noisy: call(*noisy, arm), x, batch["lesions"], rng)

    def validate(self) -> dict[str, float]:
        """Nothing: a diffusion loss says little of its samples, which `score-forecasts` measures."""
        return {}


def train_prior(
    slabs: Slabs,
    settings: TrainPriorSettings,
    checkpoints: Path,
    minutes: float | None,
    device: torch.device,
    compile_when: When = "never",
) -> Trained:
    """Train on the slabs' training split, or continue from the newest checkpoint; see msdiff.training.train.

    Raises BadSettings for unfitting settings, BadInput where nothing can be learnt from the slabs.
    """
    task = PriorTask(slabs, settings)
    log.info("prior: %d training patients, %d active", len(task.patients), (task.patients["count"] > 0).sum())
    return train(
        task,
        settings.prior.training,
        seed=settings.prior.seed,
        checkpoints=checkpoints,
        minutes=minutes,
        identity={
            "settings": settings.model_dump(mode="json", exclude={"prior": {"training"}}),
            "slabs": slabs.sha256(*ARRAYS),
            "patients": digest_of_rows(task.patients),
        },
        device=device,
        description={
            "kind": KIND,
            "settings": settings.model_dump(mode="json"),
            "generated": task.generated,
            "arms": list(slabs.arms),
            "sessions": list(slabs.sessions),
            "shape": list(slabs.grid.shape),
            "patients": sorted(task.patients["subject"]),
        },
        compile_when=compile_when,
    )


class Prior(NamedTuple):
    """What the file of a trained stage 1 says: its description, and the settings and sizes in there."""

    description: dict[str, Any]
    settings: PriorSettings
    network: Pseudo2DSettings
    sizes: SlabSizes


def load_prior(path: str | Path) -> tuple[dict[str, Tensor], Prior]:
    """The tensors of a prior and what their file says; BadInput where it holds none, or not what it describes."""
    tensors, description = load_weights_of(KIND, path)
    prior = described(description, path)
    fill(Pseudo2DUNet(prior.network, prior.sizes), tensors, path)
    return tensors, prior


def described(description: dict[str, Any], path: str | Path) -> Prior:
    """The prior of this description, which is in the file at `path`."""
    settings = check(TrainPriorSettings, description["settings"], str(path))
    network = check(Pseudo2DSettings, settings.network.options, str(path))
    sizes = SlabSizes(description["shape"][2], len(description["generated"]), 0, len(description["arms"]))
    return Prior(description, settings.prior, network, sizes)
