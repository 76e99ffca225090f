"""What the network predicts, and what its errors cost: an `Objective` is built once from its settings.

From z = alpha x + sigma eps the network predicts one of

    eps,    x,    v = alpha eps - sigma x        (Salimans and Ho, Progressive Distillation, 2022, section 4)

Each gives the others: the errors relate as |eps error|^2 = SNR |x error|^2 and |v error|^2 = (SNR + 1) |x error|^2, and
so do the weights. The loss of a batch is

    L = loss_scale x mean over the batch of w(logsnr) sum_v c_v e(error_v) / sum_v c_v

e is the square (l2) or the absolute value (l1), w the weight of a noise level, and c_v is `lesion_factor` in lesions
and 1 elsewhere: lesions get a larger share of the loss, not a larger learning rate. A factor above 1 makes lesions
likelier in samples than they are: the network's estimate is a mean of the possible images, and those with a lesion in a
voxel weigh that many times more there.
"""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor

from msdiff.diffusion.noise import Schedule, add_noise, alpha, expand, load_schedule, sigma
from msdiff.diffusion.variance import HybridSettings, discrete_times, hybrid_loss, variance_fraction, vlb_term
from msdiff.settings import Choice, Entry, Settings, build


class ObjectiveSettings(Settings):
    """What a diffusion model is trained for.

    prediction          what the network predicts: eps, x or v
    schedule            of the noise, one of noise.SCHEDULES
    weight              of a sample's loss by its noise, one of WEIGHTS
    error               of a voxel: l2, the square, or l1, the absolute value
    lesion_factor       how many times a voxel of a lesion counts; 1 is none
    loss_scale          what the loss is multiplied by, so that Adam's epsilon is small beside all gradients
    """

    prediction: Literal["eps", "x", "v"]
    schedule: Choice
    weight: Choice
    error: Literal["l2", "l1"]
    lesion_factor: Annotated[float, Field(ge=1)]
    loss_scale: PositiveFloat


class Prediction(NamedTuple):
    """A kind of output; `a` and `s` are alpha and sigma, shaped to broadcast."""

    target: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # x, eps, a, s
    to_x: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # output, z, a, s
    to_eps: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # output, z, a, s
    log_x_weight: Callable[[Tensor], Tensor]  # log of |x error|^2 / |output error|^2, from logsnr


PREDICTIONS: Mapping[str, Prediction] = {
    "eps": Prediction(
        target=lambda x, eps, a, s: eps,
        to_x=lambda output, z, a, s: (z - s * output) / a,
        to_eps=lambda output, z, a, s: output,
        log_x_weight=lambda logsnr: -logsnr,
    ),
    "x": Prediction(
        target=lambda x, eps, a, s: x,
        to_x=lambda output, z, a, s: output,
        to_eps=lambda output, z, a, s: (z - a * output) / s,
        log_x_weight=lambda logsnr: torch.zeros_like(logsnr),
    ),
    "v": Prediction(
        target=lambda x, eps, a, s: a * eps - s * x,
        to_x=lambda output, z, a, s: a * z - s * output,
        to_eps=lambda output, z, a, s: s * z + a * output,
        log_x_weight=lambda logsnr: torch.nn.functional.logsigmoid(-logsnr),
    ),
}


class UnitSettings(Settings):
    """Nothing to set: every error of the network's own output counts the same."""


class MinSNRSettings(Settings):
    """gamma: the largest weight of the error in x. 5 in Hang et al. 2023."""

    gamma: Annotated[float, Field(gt=0)]


def _unit(settings: UnitSettings, prediction: Prediction) -> Callable[[Tensor], Tensor]:
    return torch.ones_like


def _min_snr(settings: MinSNRSettings, prediction: Prediction) -> Callable[[Tensor], Tensor]:
    """min(SNR, gamma) on the squared error in x; so over SNR on eps, over SNR + 1 on v.

    Hang et al., Efficient Diffusion Training via Min-SNR Weighting Strategy, 2023, section 3.4.
    """
    largest = math.log(settings.gamma)
    return lambda logsnr: torch.exp(logsnr.clamp(max=largest) + prediction.log_x_weight(logsnr))


# Each makes the weight (B,) of a sample's error in the network's own output, from logsnr (B,).
WEIGHTS: Mapping[str, Entry] = {"unit": Entry(UnitSettings, _unit), "min_snr": Entry(MinSNRSettings, _min_snr)}


class VoxelError(NamedTuple):
    """The error of a voxel, from output less target, and its name in histories."""

    name: str
    of: Callable[[Tensor], Tensor]


ERRORS: Mapping[str, VoxelError] = {
    "l2": VoxelError("squared_error", torch.square),
    "l1": VoxelError("absolute_error", torch.abs),
}


class Noised(NamedTuple):
    """Images x and noise eps (B, C, ...) as z (B, C, ...), at times in [0, 1] and noise levels logsnr (B,)."""

    x: Tensor
    eps: Tensor
    z: Tensor
    time: Tensor
    logsnr: Tensor


class Answer(NamedTuple):
    """What a network says of z: its prediction, the clean image x_hat, and the fraction of a learned variance.

    Each is (B, C, ...) and float32; the fraction is None if the variance is fixed.
    """

    prediction: Tensor
    x_hat: Tensor
    fraction: Tensor | None


class Loss(NamedTuple):
    """Scalars of a batch: the loss, and the plain mean error of all voxels and of lesion voxels."""

    loss: Tensor
    error: Tensor
    lesion_error: Tensor


class Objective:
    """Schedule, prediction and loss, with every option checked; no method checks anything again.

    Raises BadSettings if a name or an option is unknown, missing or out of range.
    """

    def __init__(self, settings: ObjectiveSettings, hybrid: HybridSettings | None = None) -> None:
        self.schedule: Schedule = load_schedule(settings.schedule.backend, settings.schedule.options)
        self.prediction = PREDICTIONS[settings.prediction]
        self.weight: Callable[[Tensor], Tensor] = build(
            WEIGHTS, settings.weight.backend, settings.weight.options, "loss weight", self.prediction
        )
        self.error = ERRORS[settings.error]
        self.lesion_factor = settings.lesion_factor
        self.loss_scale = settings.loss_scale
        self.hybrid = hybrid

    def outputs(self, channels: int) -> int:
        """How many channels the network says of images of so many: twice as many if the variance is learned."""
        return channels if self.hybrid is None else 2 * channels

    def noised(self, x: Tensor, rng: torch.Generator, precision: torch.dtype = torch.float64) -> Noised:
        """Images (B, C, ...) with noise, at times spread over (0, 1], in discrete steps if the variance is learned.

        Noise levels and their weights are computed in the `precision`.
        """
        time = spread_times(len(x), rng)
        if self.hybrid is not None:
            steps = self.hybrid.steps
            time = discrete_times((time * steps).long().clamp(max=steps - 1), steps)
        logsnr = self.schedule(time).to(precision)
        eps = torch.randn(x.shape, generator=rng, device=rng.device)
        return Noised(x, eps, add_noise(x, eps, logsnr), time, logsnr)

    def target(self, x: Tensor, eps: Tensor, logsnr: Tensor) -> Tensor:
        """What the network should say for images x and noise eps (B, C, ...) at logsnr (B,)."""
        return self.prediction.target(x, eps, expand(alpha(logsnr), x), expand(sigma(logsnr), x))

    def to_x(self, prediction: Tensor, z: Tensor, logsnr: Tensor) -> Tensor:
        """Estimate of the clean image (B, C, ...) from the network's prediction at z."""
        return self.prediction.to_x(prediction, z, expand(alpha(logsnr), z), expand(sigma(logsnr), z))

    def to_eps(self, prediction: Tensor, z: Tensor, logsnr: Tensor) -> Tensor:
        """Estimate of the noise (B, C, ...) from the network's prediction at z."""
        return self.prediction.to_eps(prediction, z, expand(alpha(logsnr), z), expand(sigma(logsnr), z))

    def answer(self, output: Tensor, z: Tensor, logsnr: Tensor) -> Answer:
        """What a raw output (B, `outputs(C)`, ...) at z (B, C, ...) and logsnr (B,) stands for."""
        output, channels = output.float(), z.shape[1]
        prediction = output[:, :channels]
        fraction = None if self.hybrid is None else variance_fraction(output[:, channels:])
        return Answer(prediction, self.to_x(prediction, z, logsnr), fraction)

    def loss(self, prediction: Tensor, noised: Noised, lesions: Tensor) -> Loss:
        """What a prediction (B, C, ...) of noised images costs; see the head of this module.

        Lesions are masks of 0 and 1 that broadcast to the images.
        """
        error = self.error.of(prediction - self.target(noised.x, noised.eps, noised.logsnr))
        voxel_weight = None if self.lesion_factor == 1 else 1 + (self.lesion_factor - 1) * lesions
        spread = lesions.expand_as(error)
        return Loss(
            self.loss_scale * weighted_mean(error, self.weight(noised.logsnr), voxel_weight),
            error.mean(),
            (spread * error).sum() / spread.sum().clamp(min=1),
        )

    def with_bound(self, simple: Tensor, answer: Answer, noised: Noised) -> Tensor:
        """The hybrid loss of `simple`, a scalar, and the bound; `simple` itself if the variance is fixed."""
        if self.hybrid is None or answer.fraction is None:
            return simple
        index = (noised.time * self.hybrid.steps).round().long() - 1
        term = vlb_term(answer.x_hat, answer.fraction, noised.x, noised.z, index, self.schedule, self.hybrid)
        return hybrid_loss(simple, term, self.hybrid)

    def named(self, error: Tensor, lesion_error: Tensor) -> dict[str, Tensor]:
        """Two errors by their names in histories: squared_error and lesion_squared_error, or absolute ones."""
        return {self.error.name: error, f"lesion_{self.error.name}": lesion_error}


def weighted_mean(error: Tensor, weight: Tensor, voxel_weight: Tensor | None = None) -> Tensor:
    """Mean over the batch of weight times the mean error of a sample: a scalar.

    Parameters
    ----------
    error
        (B, C, ...), of voxels.
    weight
        (B,), by the noise.
    voxel_weight
        Broadcasts to the error, at least zero, for instance ten in lesions and one elsewhere. Divided by its sum over
        each sample, so that lesions raise their share of the loss and not the learning rate.
    """
    axes = tuple(range(1, error.ndim))
    if voxel_weight is None:
        per_sample = error.mean(axes)
    else:
        spread = voxel_weight.to(error.dtype).expand_as(error)
        per_sample = (spread * error).sum(axes) / spread.sum(axes)
    return (weight.to(error.dtype) * per_sample).mean()


def spread_times(batch: int, rng: torch.Generator) -> Tensor:
    """Times (B,) in [0, 1), one in each of B equal parts in random order, in double precision.

    Spread so, the loss of a batch varies less (Kingma et al., Variational Diffusion Models, 2021, appendix I.1).
    """
    start = torch.rand(1, generator=rng, device=rng.device, dtype=torch.float64)
    order = torch.randperm(batch, generator=rng, device=rng.device)
    return (start + order / batch) % 1
