"""Draw NET2 masks of the next session from the trained weights of stage 2.

A draw is guided as Favero et al., arXiv 2508.07006 (2025), section 2, (1 + w) conditional - w unconditional, where the
unconditional answer knows neither the treatment (null arm) nor the patient (zero images).
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from msdiff.diffusion.guidance import guided_denoiser
from msdiff.diffusion.sampler import SamplerSettings, load_sampler, moved, noise_like, sample
from msdiff.errors import BadSettings
from msdiff.forecasting.control import KIND
from msdiff.forecasting.denoising import Denoising
from msdiff.forecasting.options import TrainControlSettings
from msdiff.forecasting.prior import described
from msdiff.forecasting.slabs import NET2
from msdiff.forecasting.stages import fill
from msdiff.networks.batches import batch_size, in_batches
from msdiff.networks.compiled import Call, When, compiled_for_sampling
from msdiff.networks.pseudo_2d import ControlledUNet
from msdiff.networks.weights import load_weights_of, sha256
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
        self.denoising = Denoising(prior.settings.objective)
        self.generated = len(prior.description["generated"])
        self.mask = prior.settings.generates.index(NET2)
        self.can_guide = min(prior.settings.treatment_dropout, settings.dropout.treatment, settings.dropout.images) > 0
        self.bf16 = settings.training.precision == "bf16" and device.type == "cuda"
        self.device = device
        self.compile_when = compile_when
        self.compiled: Call | None = None
        self.network = ControlledUNet(prior.network, prior.sizes._replace(images=len(self.channels)))
        fill(self.network, tensors, path)
        self.network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

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
        images, arms = moved(images, self.device), moved(arms, self.device)
        size = batch_size(self.device, CPU_BATCH)

        def estimate(z: Tensor, logsnr: Tensor, arm: Tensor, embedded: Tensor) -> Tensor:
            call = self.compiled or self.network
            output = in_batches(call, size or len(z), z, logsnr.to(z), arm, embedded)
            return self.denoising.estimate(output, z, logsnr)

        noise = moved(noise_like((self.generated, *images.shape[2:]), seeds), self.device)
        with torch.autocast("cuda", dtype=torch.bfloat16) if self.bf16 else nullcontext(), torch.no_grad():
            known = [arms, self._embedded(images, size)]
            none = self._embedded(torch.zeros_like(images[:1]), size).expand_as(known[1])
            unknown = [torch.full_like(arms, len(self.arms)), none]
            if self.compile_when != "never":
                self._compile(noise, known, size, answers=1 if sampler.guidance_weight == 0 else 2)
            drawn = sample(
                guided_denoiser(estimate, known, unknown, sampler.guidance_weight),
                noise,
                self.denoising.schedule,
                load_sampler(sampler.sampler, sampler.steps),
                seeds,
            )
        return drawn[:, self.mask].float()

    def _embedded(self, images: Tensor, size: int | None) -> Tensor:
        return in_batches(self.network.control.embed, size or len(images), images)

    def _compile(self, noise: Tensor, known: list[Tensor], size: int | None, answers: int) -> None:
        """Compile the network for batches of this size, once for every answer; where that fails it stays as it is."""
        when, self.compile_when = self.compile_when, "never"
        logsnr = torch.zeros(len(noise), device=self.device)
        inputs = [torch.cat([tensor] * answers) for tensor in (noise, logsnr, *known)]
        self.compiled = compiled_for_sampling(self.network, when, size, *inputs)
