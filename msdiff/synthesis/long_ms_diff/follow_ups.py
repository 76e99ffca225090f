"""Follow-ups from the trained weights of Long-MS-Diff."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from msdiff.diffusion.sampler import SamplerSettings, moved
from msdiff.errors import BadSettings
from msdiff.networks.compiled import When
from msdiff.sampling.denoised import Denoised
from msdiff.settings import check
from msdiff.synthesis.long_ms_diff.conditions import Statistics, channels, standardised
from msdiff.synthesis.long_ms_diff.denoiser import Denoiser
from msdiff.synthesis.long_ms_diff.options import LongMSDiffSettings

# Rows of the network's batches on a CPU.
CPU_BATCH = 4


def load_generator(
    tensors: dict[str, Tensor], description: dict[str, Any], device: torch.device, compile_when: When = "never"
) -> "FollowUpSampler":
    """The sampler of trained weights, see msdiff.synthesis; BadInput if the tensors do not fit them."""
    settings = check(LongMSDiffSettings, description["settings"], "weights")
    denoiser = Denoiser(settings)
    denoiser.fill(tensors)
    return FollowUpSampler(denoiser.eval(), description["statistics"], settings, device, compile_when)


class FollowUpSampler:
    """Follow-ups from a denoiser, which is compiled, if at all, for the first batch's size."""

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
        self.denoised = Denoised(
            denoiser.network,
            denoiser.objective,
            device,
            precision=settings.training.precision,
            cpu_batch=CPU_BATCH,
            compile_when=compile_when,
        )

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
        baseline, change_mask, values = (moved(part, self.denoised.device) for part in (baseline, change_mask, values))
        condition = channels(baseline, change_mask, values, given)
        null = channels(baseline, torch.zeros_like(change_mask), torch.zeros_like(values), given)
        clean = self.denoised(baseline.shape[1:], seeds, sampler, [condition], [null])
        return self.denoiser.follow_up(clean.float(), baseline)
