"""The network of Long-MS-Diff with its schedule, prediction and target: from noise and conditions to follow-ups."""

from typing import Any

from torch import Tensor, nn

from msdiff.diffusion.noise import Schedule, load_schedule
from msdiff.diffusion.objective import HybridSettings, to_x, variance_fraction
from msdiff.errors import BadSettings
from msdiff.networks.batches import in_batches
from msdiff.networks.compiled import Call
from msdiff.networks.conditional_unet import ConditionalUNet, ConditionalUNetSettings
from msdiff.settings import Choice, check
from msdiff.synthesis.long_ms_diff.conditions import CHANNELS
from msdiff.synthesis.long_ms_diff.options import FixedSettings, FollowUpSettings, ObjectiveSettings, ResidualSettings


class Denoiser(nn.Module):
    """From a noisy clean image and conditions to the clean image: the follow-up, or its difference to the baseline."""

    def __init__(self, network: dict[str, Any], objective: ObjectiveSettings, target: Choice) -> None:
        super().__init__()
        self.prediction = objective.prediction
        self.schedule: Schedule = load_schedule(objective.schedule.backend, objective.schedule.options)
        self.hybrid = _hybrid(objective.variance)
        self.residual_scale = _residual_scale(target)
        sizes = network | {"in_channels": 1 + CHANNELS, "out_channels": 1 if self.hybrid is None else 2}
        self.network = ConditionalUNet(check(ConditionalUNetSettings, sizes, "network"))
        self.compiled: Call | None = None

    def forward(
        self, z: Tensor, logsnr: Tensor, condition: Tensor, size: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Raw prediction, x_hat and variance fraction (where learned), each (B, 1, H, W) float32.

        With a `size` the network sees batches of exactly that, whatever B.
        """
        output = in_batches(self.compiled or self.network, size or len(z), z, logsnr.to(z), condition).float()
        prediction = output[:, :1]
        fraction = None if self.hybrid is None else variance_fraction(output[:, 1:])
        return prediction, to_x(prediction, z, logsnr, self.prediction), fraction

    def clean(self, follow_up: Tensor, baseline: Tensor) -> Tensor:
        """What noise is added to (B, 1, H, W)."""
        return follow_up if self.residual_scale is None else (follow_up - baseline) / self.residual_scale

    def follow_up(self, clean: Tensor, baseline: Tensor) -> Tensor:
        """The follow-up (B, 1, H, W) that a clean image stands for."""
        return clean if self.residual_scale is None else baseline + self.residual_scale * clean

    @property
    def last(self) -> nn.Parameter:
        """The weight of the last layer."""
        return [parameter for parameter in self.network.parameters() if parameter.ndim > 1][-1]


def _hybrid(variance: Choice) -> HybridSettings | None:
    """The settings of a learned variance, None where it is fixed."""
    match variance.backend:
        case "fixed":
            check(FixedSettings, variance.options, "variance fixed")
            return None
        case "learned":
            return check(HybridSettings, variance.options, "variance learned")
        case other:
            raise BadSettings(f"variance: expected one of fixed, learned; got {other!r}")


def _residual_scale(target: Choice) -> float | None:
    """The scale of a residual target, None where the follow-up itself is generated."""
    match target.backend:
        case "follow_up":
            check(FollowUpSettings, target.options, "target follow_up")
            return None
        case "residual":
            return check(ResidualSettings, target.options, "target residual").scale
        case other:
            raise BadSettings(f"target: expected one of follow_up, residual; got {other!r}")
