"""The loss of both stages: a slab is noised, and the network's error weighed by noise level and by lesion.

    L = loss_scale x mean over the batch of w(logsnr) sum_v c_v error_v^2 / sum_v c_v

w is the weight of msdiff.diffusion.objective; c_v is `lesion_factor` in voxels of the true NET2 mask and 1 elsewhere
(Favero et al., arXiv 2508.07006, 2025, section 3: "up-weight NET2 lesion areas by a factor of 10"). The mask is the one
before the label blur: the blurred one has no border of its own. Lesions get a larger share of the loss, not a larger
learning rate. A factor above 1 makes lesions likelier in the draws than they are: the network's estimate is a mean of
the possible futures, and those with a lesion in a voxel weigh that many times more there.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from msdiff.diffusion.noise import Schedule, add_noise, load_schedule
from msdiff.diffusion.objective import loss_weight, spread_times, target, to_x, weighted_mse
from msdiff.forecasting.options import ObjectiveSettings


class Denoising:
    """Schedule, prediction and loss of an objective."""

    def __init__(self, settings: ObjectiveSettings) -> None:
        self.settings = settings
        self.schedule: Schedule = load_schedule(settings.schedule.backend, settings.schedule.options)

    def loss(
        self, predict: Callable[[Tensor, Tensor], Tensor], x: Tensor, lesions: Tensor, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """The loss, and the mean squared error of the prediction in all of the slab and in its lesions.

        Parameters
        ----------
        predict
            From noisy slabs (B, C, S, H, W) and logsnr (B,) to the network's raw output.
        x
            Slabs (B, C, S, H, W) in [-1, 1].
        lesions
            True masks (B, 1, S, H, W) of 0 and 1.
        """
        settings = self.settings
        logsnr = self.schedule(spread_times(len(x), rng)).to(x.dtype)
        eps = torch.randn(x.shape, generator=rng, device=rng.device)
        prediction = predict(add_noise(x, eps, logsnr), logsnr).float()
        wanted = target(x, eps, logsnr, settings.prediction)
        weight = loss_weight(logsnr, settings.prediction, settings.weight.backend, settings.weight.options)
        factor = 1 + (settings.lesion_factor - 1) * lesions
        error = (prediction - wanted).square()
        spread = lesions.expand_as(error)
        return {
            "loss": settings.loss_scale * weighted_mse(prediction, wanted, weight, factor),
            "squared_error": error.mean(),
            "lesion_squared_error": (spread * error).sum() / spread.sum().clamp(min=1),
        }

    def estimate(self, output: Tensor, z: Tensor, logsnr: Tensor) -> Tensor:
        """The clean slabs (B, C, S, H, W) that a raw output at z and logsnr (B,) stands for."""
        return to_x(output.float(), z, logsnr, self.settings.prediction)
