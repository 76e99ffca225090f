"""Follow-ups from the trained weights of Long-MS-Diff."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from msdiff.diffusion.guidance import guided_denoiser
from msdiff.diffusion.sampler import SamplerSettings, load_sampler, moved, noise_like, sample
from msdiff.errors import BadInput, BadSettings
from msdiff.networks.batches import batch_size
from msdiff.networks.compiled import When, compiled_for_sampling
from msdiff.settings import check
from msdiff.synthesis.long_ms_diff.conditions import CHANNELS, Statistics, channels, standardised
from msdiff.synthesis.long_ms_diff.denoiser import Denoiser
from msdiff.synthesis.long_ms_diff.options import LongMSDiffSettings

# Rows of the network's batches on a CPU.
CPU_BATCH = 4


def load_generator(
    tensors: dict[str, Tensor], description: dict[str, Any], device: torch.device, compile_when: When = "never"
) -> "Draw":
    """The draw of trained weights, see msdiff.synthesis.SAMPLE; BadInput where the tensors do not fit them."""
    settings = check(LongMSDiffSettings, description["settings"], "weights")
    denoiser = Denoiser(settings.network, settings.objective, settings.target)
    load_tensors(denoiser, tensors)
    denoiser.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Draw(denoiser, description["statistics"], settings, device, compile_when)


def load_tensors(denoiser: Denoiser, tensors: dict[str, Tensor]) -> None:
    """Put trained tensors into a denoiser; BadInput where it is not of their sizes."""
    try:
        denoiser.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadInput(
            f"weights: expected those of the network they describe, {1 + CHANNELS} channels in, got others "
            f"({str(error).splitlines()[-1].strip()}); train the generator again"
        ) from error


class Draw:
    """Follow-ups from a trained denoiser, which is compiled, if at all, for the first batch's size."""

    def __init__(
        self,
        denoiser: Denoiser,
        statistics: Statistics,
        settings: LongMSDiffSettings,
        device: torch.device,
        compile_when: When = "never",
    ) -> None:
        self.denoiser = denoiser
        self.statistics = statistics
        self.settings = settings
        self.device = device
        self.compile_when = compile_when
        self.bf16 = settings.training.precision == "bf16" and device.type == "cuda"

    def __call__(
        self, baseline: Tensor, change_mask: Tensor, scalars: Tensor, seeds: Sequence[int], sampler: SamplerSettings
    ) -> Tensor:
        """Follow-ups (B, 1, H, W) from baselines and masks (B, 1, H, W), scalars (B, 3) and one seed each.

        They stay on the device, where they may not be finished yet: `.cpu()` waits for them.
        """
        if sampler.guidance_weight > 0 and self.settings.dropout.guidance == 0:
            raise BadSettings(
                f"guidance_weight: expected 0 for a generator trained without guidance dropout, got "
                f"{sampler.guidance_weight}; set it to 0, or train with dropout.guidance above 0"
            )
        given = self.settings.conditions
        values = torch.from_numpy(standardised(scalars.double().numpy(), self.statistics))
        baseline, change_mask, values = (moved(part, self.device) for part in (baseline, change_mask, values))
        condition = channels(baseline, change_mask, values, given)
        null = channels(baseline, torch.zeros_like(change_mask), torch.zeros_like(values), given)
        size = batch_size(self.device, CPU_BATCH)

        def estimate(z: Tensor, logsnr: Tensor, condition: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            _, x_hat, fraction = self.denoiser(z, logsnr, condition, size)
            return x_hat if fraction is None else (x_hat, fraction)

        denoise = guided_denoiser(estimate, [condition], [null], sampler.guidance_weight)
        noise = moved(noise_like(baseline.shape[1:], seeds), self.device)
        with torch.autocast("cuda", dtype=torch.bfloat16) if self.bf16 else nullcontext():
            if self.compile_when != "never":
                asked = 1 if sampler.guidance_weight == 0 else 2
                self._compile(torch.cat([noise] * asked), torch.cat([condition, null][:asked]), size)
            drawn = sample(denoise, noise, self.denoiser.schedule, load_sampler(sampler.sampler, sampler.steps), seeds)
        return self.denoiser.follow_up(drawn.float(), baseline)

    def _compile(self, z: Tensor, condition: Tensor, size: int | None) -> None:
        """Compile the network for batches like this one; where that fails it stays as it is."""
        when, self.compile_when = self.compile_when, "never"
        logsnr = torch.zeros(len(z), device=z.device)
        self.denoiser.compiled = compiled_for_sampling(self.denoiser.network, when, size, z, logsnr, condition)
