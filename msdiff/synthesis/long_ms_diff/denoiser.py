"""The network of Long-MS-Diff with its objective and target: from noise and conditions to follow-ups."""

from torch import Tensor, nn

from msdiff.diffusion.objective import Answer, Objective
from msdiff.diffusion.variance import HybridSettings
from msdiff.errors import BadInput
from msdiff.networks.compiled import Call
from msdiff.networks.conditional_unet import ConditionalUNet, ConditionalUNetSettings
from msdiff.settings import Entry, build, check
from msdiff.synthesis.long_ms_diff.conditions import CHANNELS
from msdiff.synthesis.long_ms_diff.options import (
    FixedVarianceSettings,
    FollowUpSettings,
    LongMSDiffSettings,
    ResidualSettings,
)

# A learned variance has the hybrid objective, and a residual target a scale.
VARIANCES = {
    "fixed": Entry(FixedVarianceSettings, lambda options: None),
    "learned": Entry(HybridSettings, lambda options: options),
}
TARGETS = {
    "follow_up": Entry(FollowUpSettings, lambda options: None),
    "residual": Entry(ResidualSettings, lambda options: options.scale),
}


class Denoiser(nn.Module):
    """From a noisy clean image and conditions to the clean image: the follow-up, or its difference to the baseline.

    Raises BadSettings if an option is unknown, missing or out of range.
    """

    def __init__(self, settings: LongMSDiffSettings) -> None:
        super().__init__()
        variance, target = settings.variance, settings.target
        hybrid: HybridSettings | None = build(VARIANCES, variance.backend, variance.options, "variance")
        self.objective = Objective(settings.objective, hybrid)
        self.residual_scale: float | None = build(TARGETS, target.backend, target.options, "target")
        sizes = settings.network | {"in_channels": 1 + CHANNELS, "out_channels": self.objective.outputs(1)}
        self.network = ConditionalUNet(check(ConditionalUNetSettings, sizes, "network"))

    def forward(self, z: Tensor, logsnr: Tensor, condition: Tensor, compiled: Call | None = None) -> Answer:
        """Prediction, x_hat and variance fraction (if learned), each (B, 1, H, W) float32."""
        call = compiled or self.network
        return self.objective.answer(call(z, logsnr.to(z), condition), z, logsnr)

    def clean(self, follow_up: Tensor, baseline: Tensor) -> Tensor:
        """What noise is added to (B, 1, H, W)."""
        return follow_up if self.residual_scale is None else (follow_up - baseline) / self.residual_scale

    def follow_up(self, clean: Tensor, baseline: Tensor) -> Tensor:
        """The follow-up (B, 1, H, W) that a clean image stands for."""
        return clean if self.residual_scale is None else baseline + self.residual_scale * clean

    def fill(self, tensors: dict[str, Tensor]) -> None:
        """Put trained tensors into the network; BadInput if they are of other sizes."""
        try:
            self.load_state_dict(tensors)
        except RuntimeError as error:
            raise BadInput(
                f"weights: expected those of the network they describe, {1 + CHANNELS} channels in, got others "
                f"({str(error).splitlines()[-1].strip()}); train the generator again"
            ) from error

    @property
    def last(self) -> nn.Parameter:
        """The weight of the last layer."""
        return [parameter for parameter in self.network.parameters() if parameter.ndim > 1][-1]
