"""Sample NET2 masks of the next session from the trained weights of stage 2.

A draw is guided as Favero et al., arXiv 2508.07006 (2025), section 2, (1 + w) conditional - w unconditional, where the
unconditional answer knows neither the treatment (null arm) nor the patient (zero images).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from msdiff.diffusion.objective import Objective
from msdiff.diffusion.sampler import SamplerSettings, moved
from msdiff.errors import BadSettings
from msdiff.forecasting.control import KIND
from msdiff.forecasting.options import TrainControlSettings
from msdiff.forecasting.prior import described
from msdiff.forecasting.slabs import NET2
from msdiff.forecasting.stages import fill
from msdiff.networks.compiled import When
from msdiff.networks.pseudo_2d import ControlledUNet
from msdiff.networks.weights import load_weights_of, sha256
from msdiff.sampling.denoised import Denoised
from msdiff.settings import check

# Rows of the networks' batches on a CPU, where smaller ones cost more each and larger ones no less.
CPU_BATCH = 8


def load(path: str | Path, device: torch.device, compile_when: When = "never") -> "Forecaster":
    """The forecaster of a weights file; BadInput where it is none's, or does not hold what it describes."""
    tensors, description = load_weights_of(KIND, path)
    return Forecaster(tensors, description, path, device, compile_when)


class Forecaster:
    """Trained networks of both stages; compiled, if at all, for the first batch's size.

    channels            names of the slabs' channels that it is given, in order
    arms                in the order of their numbers
    shape               (z, y, x) of its slab
    path, sha256        of its file
    description         of its file: `model`, its name, `patients` whom both stages were trained on, and more
    """

    def __init__(
        self,
        tensors: dict[str, Tensor],
        description: dict[str, Any],
        path: str | Path,
        device: torch.device,
        compile_when: When,
    ) -> None:
        prior = described(description["prior"], path)
        settings = check(TrainControlSettings, description["settings"], str(path)).control
        self.channels: tuple[str, ...] = tuple(description["channels"])
        self.arms: tuple[str, ...] = tuple(prior.description["arms"])
        x, y, z = prior.description["shape"]
        self.shape: tuple[int, int, int] = (z, y, x)
        self.path, self.sha256 = path, sha256(path)
        self.description = description
        self.generated = len(prior.description["generated"])
        self.mask = prior.settings.generates.index(NET2)
        self.can_guide = min(prior.settings.treatment_dropout, settings.dropout.treatment, settings.dropout.images) > 0
        self.network = ControlledUNet(prior.network, prior.sizes._replace(images=len(self.channels))).eval()
        fill(self.network, tensors, path)
        self.denoised = Denoised(
            self.network,
            Objective(prior.settings.objective),
            device,
            precision=settings.training.precision,
            cpu_batch=CPU_BATCH,
            compile_when=compile_when,
        )

    def __call__(self, images: Tensor, arms: Tensor, seeds: Sequence[int], sampler: SamplerSettings) -> Tensor:
        """Masks (B, z, y, x), from about -1, none, to 1, a new lesion; not held to that range.

        They stay on the device, where they may not be finished yet: `.cpu()` waits for them. Raises BadSettings where a
        guidance is asked for that was not trained.

        Parameters
        ----------
        images
            float32 (B, channel, z, y, x) in [-1, 1], on the CPU.
        arms
            int64 (B,), places in `arms`, on the CPU.
        seeds
            One per draw, which depends on its own row and seed only; bit for bit on a CPU.
        """
        if sampler.guidance_weight > 0 and not self.can_guide:
            raise BadSettings(
                f"guidance_weight: expected 0 for a forecaster trained without dropout of treatment and images, got "
                f"{sampler.guidance_weight}; set it to 0, or train with dropout above 0"
            )
        denoised = self.denoised
        images, arms = moved(images, denoised.device), moved(arms, denoised.device)
        embed = self.network.control.embed
        with denoised.computing():
            known = [arms, denoised.in_batches(embed, images)]
            none = denoised.in_batches(embed, torch.zeros_like(images[:1])).expand_as(known[1])
        unknown = [torch.full_like(arms, len(self.arms)), none]
        sampled = denoised((self.generated, *images.shape[2:]), seeds, sampler, known, unknown)
        return sampled[:, self.mask].float()
