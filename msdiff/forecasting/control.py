"""Stage 2: what a patient's own images say of the NET2 mask to come, beside the treatment.

Favero et al., arXiv 2508.07006 (2025), section 2: the UNet of stage 1 is frozen, and a ControlNet that starts as a copy
of its encoder learns to lead it by images. Arm and images are dropped independently of each other: the arm becomes the
null arm, the images become zeros, mid-grey everywhere, which no real image is. Loss and schedule are those of stage 1.

"We train the ControlNet model on a balanced subset of the training data" (section 3): as many active patients, with a
lesion in the last session's mask, as inactive ones. Sampled forecasts are therefore as if half of the patients were
active.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from msdiff.diffusion.guidance import dropped, without
from msdiff.diffusion.objective import Objective
from msdiff.errors import BadInput
from msdiff.forecasting.options import TrainControlSettings
from msdiff.forecasting.prior import Prior, load_prior
from msdiff.forecasting.reading import Reader, given_channels, training_patients
from msdiff.forecasting.slabs import Slabs
from msdiff.forecasting.stages import ARRAYS, denoising_loss
from msdiff.networks.compiled import Call, When
from msdiff.networks.pseudo_2d import ControlledUNet
from msdiff.networks.weights import sha256
from msdiff.stack.reading import digest_of_rows
from msdiff.training import Trained, initialised, on_device, train, with_share

log = logging.getLogger(__name__)

KIND = "forecaster"


class ControlTask:
    """The training task of stage 2; `modules` is the ControlNet alone."""

    def __init__(self, slabs: Slabs, settings: TrainControlSettings, tensors: dict[str, Tensor], prior: Prior) -> None:
        control = settings.control
        _check_alike(slabs, prior)
        self.patients, self.weights = balanced(training_patients(slabs), control.balanced, control.seed, slabs.folder)
        self.indices: NDArray[np.int64] = np.arange(len(self.patients))
        self.given = given_channels(slabs, settings.model.sessions)
        self.read = Reader(slabs, self.patients, prior.description["generated"], self.given, control.flip)
        self.dropout = control.dropout
        self.null_arm = prior.sizes.arms
        self.objective = Objective(prior.settings.objective)
        sizes = prior.sizes._replace(images=len(self.given))
        self.network = initialised(lambda: ControlledUNet(prior.network, sizes), control.seed)
        self.network.prior.load_state_dict(tensors)
        self.network.prior.requires_grad_(False).eval()
        self.network.control.start_from(self.network.prior)
        self.modules: nn.Module = self.network.control
        self.compiled: Call | None = None

    def batch(self, indices: NDArray[np.int64], generator: np.random.Generator) -> dict[str, Tensor]:
        """See msdiff.forecasting.reading.Reader."""
        return self.read(indices, generator)

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """See msdiff.forecasting.stages.denoising_loss."""
        x, arm, images = batch["x"], batch["arm"], batch["images"]
        rng = on_device(generator, x.device)
        arm = without(arm, torch.full_like(arm, self.null_arm), dropped(len(x), self.dropout.treatment, rng))
        images = without(images, torch.zeros_like(images), dropped(len(x), self.dropout.images, rng))
        call = self.compiled or self.network
        embedded = self.network.control.embed(images)
        return denoising_loss(self.objective, lambda *noisy: call(*noisy, arm, embedded), x, batch["lesions"], rng)

    def validate(self) -> dict[str, float]:
        """Nothing: a diffusion loss says little of its samples, which `score-forecasts` measures."""
        return {}


def balanced(patients: pd.DataFrame, mode: str, seed: int, folder: Path) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """The patients to train on and how often each is chosen (N,), so that half of the choices are active.

    Parameters
    ----------
    mode
        subset: all of the rarer kind, and as many of the other as the seed chooses; weights: all patients, each kind
        with half of the weight; none: all alike.
    folder
        Of the slabs, for the message.

    Raises BadInput where a kind is missing, but for `none`.
    """
    active = (patients["count"] > 0).to_numpy()
    if mode == "none":
        return patients, np.ones(len(patients))
    if active.all() or not active.any():
        raise BadInput(
            f"{folder}: expected active and inactive patients of split train, got {active.sum()} active of "
            f"{len(active)}; set control.balanced to none"
        )
    if mode == "weights":
        return patients, with_share(active, 0.5)
    number = min(active.sum(), (~active).sum())
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(np.flatnonzero(kind), number, replace=False) for kind in (active, ~active)]
    subset = patients.iloc[np.sort(np.concatenate(chosen))].reset_index(drop=True)
    return subset, np.ones(len(subset))


def train_control(
    slabs: Slabs,
    settings: TrainControlSettings,
    model: str,
    prior: str | Path,
    checkpoints: Path,
    minutes: float | None,
    device: torch.device,
    compile_when: When = "never",
) -> Trained:
    """Train the ControlNet of the model of that name on the prior's weights; see msdiff.training.train.

    The tensors are the prior's, unchanged, and the ControlNet's: they alone suffice to sample. Raises BadSettings for
    unfitting settings, BadInput where prior and slabs do not fit or nothing can be learnt.
    """
    before, described = load_prior(prior)
    digest = sha256(prior)
    task = ControlTask(slabs, settings, before, described)
    log.info("%s: %d patients, %d active", model, len(task.patients), (task.patients["count"] > 0).sum())
    trained = train(
        task,
        settings.control.training,
        seed=settings.control.seed,
        checkpoints=checkpoints,
        minutes=minutes,
        identity={
            "settings": settings.model_dump(mode="json", exclude={"control": {"training"}}),
            "prior": digest,
            "slabs": slabs.sha256(*ARRAYS),
            "patients": digest_of_rows(task.patients),
        },
        device=device,
        description={
            "kind": KIND,
            "model": model,
            "settings": settings.model_dump(mode="json"),
            "channels": task.given,
            "prior": described.description,
            "prior_sha256": digest,
            "patients": sorted({*task.patients["subject"], *described.description["patients"]}),
        },
        compile_when=compile_when,
    )
    tensors = {f"prior.{name}": tensor for name, tensor in before.items()}
    tensors |= {f"control.{name}": tensor for name, tensor in trained.tensors.items()}
    return trained._replace(tensors=tensors)


def _check_alike(slabs: Slabs, prior: Prior) -> None:
    """Raise BadInput where the prior was trained on slabs of another kind."""
    found = {"arms": list(slabs.arms), "sessions": list(slabs.sessions), "shape": list(slabs.grid.shape)}
    for name, value in found.items():
        if prior.description[name] != value:
            raise BadInput(
                f"{slabs.folder}: expected slabs with {name} {prior.description[name]}, as the prior was trained on, "
                f"got {value}; train the prior on these slabs"
            )
