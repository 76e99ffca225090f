"""Long-MS-Diff: a diffusion model of follow-up slices, conditioned on baseline, change mask and three scalars.

Mathur, Kelly, Killeen and Lawlor, Long-MS-Diff, MIDL 2025. A UNet sees the noisy follow-up and five channels of
conditions (msdiff.synthesis.conditions). Two losses are balanced (msdiff.synthesis.balance):

    L_recon     squared error of the prediction, and with a learned variance its variational bound (Nichol and Dhariwal
                2021, "improved diffusion", on which the paper builds)
    L_seg       a frozen detector of change marks (baseline, x_hat); Dice and cross-entropy to the change mask, averaged
                with weight alpha^2 over the samples of a batch with t below a bound: x_hat means nothing in much noise

The baseline is now and then replaced with noise, so that the network learns to heed mask and scalars (section 2,
"conditioning dropout"). What the paper leaves open is chosen in config.yaml; docs/long_ms_diff.md says why.
"""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor, nn
from torch.nn import functional

from msdiff.cohort.stacks import Stack
from msdiff.diffusion.guidance import dropped, guided, without
from msdiff.diffusion.noise import Schedule, add_noise, load_schedule
from msdiff.diffusion.objective import (
    HybridSettings,
    discrete_times,
    hybrid_loss,
    loss_weight,
    target,
    to_x,
    variance_fraction,
    vlb_term,
    weighted_mse,
)
from msdiff.diffusion.sampler import noise_like, sample
from msdiff.errors import BadInput, BadSettings
from msdiff.networks.batches import in_batches
from msdiff.networks.conditional_unet import ConditionalUNet, ConditionalUNetSettings
from msdiff.networks.detectors import load_detector
from msdiff.networks.weights import sha256
from msdiff.settings import Choice, Settings, check
from msdiff.synthesis import Generator, SamplerSettings
from msdiff.synthesis.balance import build_balance
from msdiff.synthesis.conditions import (
    CHANNELS,
    Statistics,
    Unit,
    channels,
    scalars_of,
    standardised,
    statistics_of,
    training_slices,
)
from msdiff.training import TrainingSettings, initialised, train

log = logging.getLogger(__name__)

# On a CPU a convolution rounds differently by the size of its batch; samples must not.
CPU_BATCH = 4

Probability = Annotated[float, Field(ge=0, le=1)]


class DropoutSettings(Settings):
    """Conditions left out in training.

    baseline            probability that the baseline is replaced
    baseline_mode       with standard normal noise, as in the paper, or with zeros
    guidance            probability that mask and scalars are replaced with zeros; above 0 for guided sampling
    """

    baseline: Probability
    baseline_mode: Literal["noise", "zeros"]
    guidance: Probability


class ObjectiveSettings(Settings):
    """L_recon.

    prediction          what the network predicts: eps, x or v
    schedule            of the noise
    weight              of a sample's loss by its noise: unit or min_snr
    lesion_weight       how many times more than others a voxel of the change mask counts, less one; 0 is none
    variance            fixed, or learned with the hybrid objective
    """

    prediction: Literal["eps", "x", "v"]
    schedule: Choice
    weight: Choice
    lesion_weight: NonNegativeFloat
    variance: Choice


class AuxiliarySettings(Settings):
    """L_seg: samples with t below maximum_time take part; balance weighs it against L_recon."""

    maximum_time: Probability
    balance: Choice


class LongMSDiffSettings(Settings):
    """Section `synthesis.long_ms_diff`.

    contrast            array of the stack that is generated
    positive_fraction   share of the drawn slices that have a change in them
    scalars             describe the change of the whole scan or of the slice
    flip                probability of a flip between left and right
    network             sizes of the ConditionalUNet, without its in and out channels
    """

    generator: Literal["long_ms_diff"]
    seed: NonNegativeInt
    contrast: str
    positive_fraction: Annotated[float, Field(gt=0, le=1)]
    scalars: Unit
    flip: Probability
    dropout: DropoutSettings
    network: dict[str, Any]
    objective: ObjectiveSettings
    auxiliary: AuxiliarySettings
    training: TrainingSettings


class _Fixed(Settings):
    """Nothing to set."""


class Denoiser(nn.Module):
    """The network with its schedule and prediction: from noisy follow-ups and conditions to clean ones."""

    def __init__(self, network: dict[str, Any], objective: ObjectiveSettings) -> None:
        super().__init__()
        self.prediction = objective.prediction
        self.schedule: Schedule = load_schedule(objective.schedule.backend, objective.schedule.options)
        self.hybrid = _hybrid(objective.variance)
        sizes = network | {"in_channels": 1 + CHANNELS, "out_channels": 1 if self.hybrid is None else 2}
        self.network = ConditionalUNet(check(ConditionalUNetSettings, sizes, "network"))

    def forward(
        self, z: Tensor, logsnr: Tensor, condition: Tensor, size: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Raw prediction, x_hat and variance fraction (where learned), each (B, 1, H, W) float32.

        With a `size` the network sees batches of exactly that, whatever B.
        """
        output = in_batches(self.network, size or len(z), z, logsnr.to(z), condition).float()
        prediction = output[:, :1]
        fraction = None if self.hybrid is None else variance_fraction(output[:, 1:])
        return prediction, to_x(prediction, z, logsnr, self.prediction), fraction

    @property
    def last(self) -> nn.Parameter:
        """The weight of the last layer."""
        return [parameter for parameter in self.network.parameters() if parameter.ndim > 1][-1]


class LongMSDiff:
    """The training task: slices of the training split, one step's loss."""

    def __init__(self, stack: Stack, settings: LongMSDiffSettings, auxiliary: nn.Module) -> None:
        self.slices = training_slices(stack)
        self.settings = settings
        self.images = stack.array(settings.contrast)
        self.masks = stack.array("change_mask")
        self.statistics = statistics_of(self.slices, settings.scalars)
        self.scalars = standardised(scalars_of(self.slices, settings.scalars), self.statistics)
        positive = (self.slices["change_voxels"] > 0).to_numpy()
        self.indices = np.arange(len(self.slices))
        self.weights = _weights(positive, settings.positive_fraction)
        self.modules: nn.Module = initialised(
            lambda: nn.ModuleDict(
                {
                    "denoiser": Denoiser(settings.network, settings.objective),
                    "balance": build_balance(settings.auxiliary.balance),
                }
            ),
            settings.seed,
        )
        self.auxiliary = auxiliary.eval().requires_grad_(False)

    def batch(self, indices: NDArray[np.int64], generator: np.random.Generator) -> dict[str, Tensor]:
        """Baseline, follow-up and change mask (B, 1, H, W) and standardised scalars (B, 3)."""
        rows = self.slices.iloc[indices]
        flips = generator.random(len(indices)) < self.settings.flip

        def read(array: NDArray[Any], scan: str) -> Tensor:
            images = np.stack([array[row, number] for row, number in zip(rows[scan], rows["slice"], strict=True)])
            images = images.astype(np.float32)
            images[flips] = images[flips, :, ::-1]
            return torch.from_numpy(images)[:, None]

        return {
            "baseline": read(self.images, "baseline_row"),
            "follow_up": read(self.images, "follow_up_row"),
            "change_mask": read(self.masks, "follow_up_row"),
            "scalars": torch.from_numpy(self.scalars[indices]),
        }

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """The balanced loss, its two parts and lambda."""
        objective = self.settings.objective
        denoiser: Denoiser = self.modules["denoiser"]  # type: ignore[index]
        follow_up, mask = batch["follow_up"], batch["change_mask"]
        rng = _on(follow_up.device, generator)
        time, index = _times(len(follow_up), denoiser.hybrid, rng)
        logsnr = denoiser.schedule(time)
        eps = torch.randn(follow_up.shape, generator=rng, device=rng.device)
        z = add_noise(follow_up, eps, logsnr)
        prediction, x_hat, fraction = denoiser(z, logsnr, self._condition(batch, rng))
        reconstruction = weighted_mse(
            prediction,
            target(follow_up, eps, logsnr, objective.prediction),
            loss_weight(logsnr, objective.prediction, objective.weight.backend, objective.weight.options),
            1 + objective.lesion_weight * mask if objective.lesion_weight else None,
        )
        simple = reconstruction
        if denoiser.hybrid is not None and fraction is not None:
            term = vlb_term(x_hat, fraction, follow_up, z, index, denoiser.schedule, denoiser.hybrid)
            reconstruction = hybrid_loss(reconstruction, term, denoiser.hybrid)
        gated = time < self.settings.auxiliary.maximum_time
        segmentation = segmentation_loss(
            self.auxiliary, batch["baseline"][gated], x_hat[gated], mask[gated], torch.sigmoid(logsnr[gated])
        )
        present = gated.any().float()
        weighed = self.modules["balance"](reconstruction, segmentation, present, denoiser.last)  # type: ignore[index]
        return {
            "loss": weighed.total,
            "reconstruction": reconstruction,
            "squared_error": simple,
            "segmentation": segmentation,
            "segmentation_weight": weighed.weight,
        }

    def validate(self) -> dict[str, float]:
        """Nothing: a diffusion loss says little of its samples, which `score-images` measures."""
        return {}

    def _condition(self, batch: dict[str, Tensor], rng: torch.Generator) -> Tensor:
        """Condition channels, with what dropout leaves of them."""
        dropout = self.settings.dropout
        baseline, mask, scalars = batch["baseline"], batch["change_mask"], batch["scalars"]
        null = torch.zeros_like(baseline)
        if dropout.baseline_mode == "noise":
            null = torch.randn(baseline.shape, generator=rng, device=rng.device)
        baseline = without(baseline, null, dropped(len(baseline), dropout.baseline, rng))
        drop = dropped(len(baseline), dropout.guidance, rng)
        zero = torch.zeros((), device=mask.device)
        return channels(baseline, without(mask, zero, drop), without(scalars, zero, drop))


def segmentation_loss(
    detector: nn.Module, baseline: Tensor, x_hat: Tensor, change_mask: Tensor, weight: Tensor
) -> Tensor:
    """L_seg, a scalar: how far a detector is from seeing the asked change in estimated follow-ups.

    Soft Dice loss plus binary cross-entropy, the latter alone where the mask is empty; the mean over the samples with
    `weight` (B,). Zero without samples. Gradients flow through x_hat (B, 1, H, W) only.
    """
    if len(x_hat) == 0:
        return x_hat.sum()
    # The detector was trained in single precision.
    with torch.autocast(x_hat.device.type, enabled=False):
        logits = detector(baseline.float(), x_hat.float())
        mask = change_mask.float()
        entropy = functional.binary_cross_entropy_with_logits(logits, mask, reduction="none").mean((1, 2, 3))
        marked = torch.sigmoid(logits)
        both, all_ = (marked * mask).sum((1, 2, 3)), (marked + mask).sum((1, 2, 3))
        filled = mask.sum((1, 2, 3)) > 0
        losses = entropy + torch.where(filled, 1 - 2 * both / all_.clamp(min=1e-6), 0.0)
        share = weight.float() / weight.float().sum().clamp(min=1e-12)
        return (share * losses).sum()


def train_generator(
    stack: Stack,
    settings: dict[str, Any],
    auxiliary: Path,
    checkpoints: Path,
    minutes: float | None,
    device: torch.device,
) -> Generator:
    """Train on the stack's training split; see msdiff.synthesis.TRAIN.

    Raises BadSettings for settings of another form, BadInput where the training split is empty or without any change,
    or the auxiliary weights are no detector's of this contrast.
    """
    chosen = check(LongMSDiffSettings, settings, "synthesis.long_ms_diff")
    detector, contrast = load_detector(auxiliary)
    if contrast != chosen.contrast:
        raise BadInput(f"{auxiliary}: expected a detector in {chosen.contrast}, got one in {contrast}")
    task = LongMSDiff(stack, chosen, detector.to(device))
    described = chosen.model_dump(mode="json", exclude={"training"})
    identity = {
        "settings": described,
        "stack": stack.sha256(chosen.contrast, "change_mask"),
        "auxiliary": sha256(auxiliary),
    }
    log.info(
        "long_ms_diff: %d training slices of %d pairs, %d with a change",
        len(task.slices),
        task.slices["pair"].nunique(),
        (task.slices["change_voxels"] > 0).sum(),
    )
    trained = train(
        task,
        chosen.training,
        seed=chosen.seed,
        checkpoints=checkpoints,
        minutes=minutes,
        identity=identity,
        device=device,
    )
    prefix = "denoiser."
    tensors = {name[len(prefix) :]: value for name, value in trained.tensors.items() if name.startswith(prefix)}
    description = {
        "kind": "generator",
        "generator": chosen.generator,
        "settings": chosen.model_dump(mode="json"),
        "statistics": task.statistics,
        "auxiliary_sha256": identity["auxiliary"],
    }
    return Generator(tensors, description, trained.history)


def load_generator(tensors: dict[str, Tensor], description: dict[str, Any], device: torch.device) -> "Draw":
    """The draw of trained weights; see msdiff.synthesis.DRAW. BadInput where the tensors do not fit the description."""
    settings = check(LongMSDiffSettings, description["settings"])
    denoiser = Denoiser(settings.network, settings.objective)
    try:
        denoiser.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadInput(
            f"weights: expected those of the network they describe, {1 + CHANNELS} channels in, got others "
            f"({str(error).splitlines()[-1].strip()}); train the generator again"
        ) from error
    denoiser.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Draw(denoiser, description["statistics"], settings, device)


class Draw(NamedTuple):
    """Follow-ups from a trained denoiser."""

    denoiser: Denoiser
    statistics: Statistics
    settings: LongMSDiffSettings
    device: torch.device

    def __call__(
        self, baseline: Tensor, change_mask: Tensor, scalars: Tensor, seeds: Sequence[int], sampler: SamplerSettings
    ) -> Tensor:
        """Follow-ups (B, 1, H, W) from baselines and masks (B, 1, H, W), scalars (B, 3) and one seed each."""
        if sampler.guidance_weight > 0 and self.settings.dropout.guidance == 0:
            raise BadSettings(
                f"guidance_weight: expected 0 for a generator trained without guidance dropout, got "
                f"{sampler.guidance_weight}; set it to 0, or train with dropout.guidance above 0"
            )
        values = torch.from_numpy(standardised(scalars.double().numpy(), self.statistics))
        condition = channels(baseline, change_mask, values).to(self.device)
        null = channels(baseline, torch.zeros_like(change_mask), torch.zeros_like(values)).to(self.device)
        size = CPU_BATCH if self.device.type == "cpu" else None

        def denoise(z: Tensor, logsnr: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            _, x_hat, fraction = self.denoiser(z, logsnr, condition, size)
            if sampler.guidance_weight > 0:
                x_hat = guided(x_hat, self.denoiser(z, logsnr, null, size)[1], sampler.guidance_weight)
            return x_hat if fraction is None else (x_hat, fraction)

        bf16 = self.settings.training.precision == "bf16" and self.device.type == "cuda"
        noise = noise_like(baseline.shape[1:], seeds).to(self.device)
        with torch.autocast("cuda", dtype=torch.bfloat16) if bf16 else nullcontext():
            drawn = sample(
                denoise,
                noise,
                self.denoiser.schedule,
                sampler.sampler.backend,
                sampler.steps,
                sampler.sampler.options,
                seeds,
            )
        return drawn.float().cpu()


def _hybrid(variance: Choice) -> HybridSettings | None:
    """The settings of a learned variance, None where it is fixed."""
    match variance.backend:
        case "fixed":
            check(_Fixed, variance.options, "variance fixed")
            return None
        case "learned":
            return check(HybridSettings, variance.options, "variance learned")
        case other:
            raise BadSettings(f"variance: expected one of fixed, learned; got {other!r}")


def _weights(positive: NDArray[np.bool_], fraction: float) -> NDArray[np.float64]:
    """How often each slice (N,) is drawn, such that `fraction` of the draws are positive."""
    negatives = max(1, int((~positive).sum()))
    return np.where(positive, fraction / positive.sum(), (1 - fraction) / negatives)


def _times(batch: int, hybrid: HybridSettings | None, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Times (B,) in (0, 1], one in each of B equal parts, and their discrete steps (B,) where the variance is learned.

    Spread so, the loss of a batch varies less (Kingma et al., Variational Diffusion Models, 2021, appendix I.1).
    """
    start = torch.rand(1, generator=rng, device=rng.device, dtype=torch.float64)
    order = torch.randperm(batch, generator=rng, device=rng.device)
    time = (start + order / batch) % 1
    if hybrid is None:
        return time, torch.zeros_like(order)
    index = (time * hybrid.steps).long().clamp(max=hybrid.steps - 1)
    return discrete_times(index, hybrid.steps), index


def _on(device: torch.device, generator: torch.Generator) -> torch.Generator:
    """The generator itself on the CPU; on an accelerator, one of its own that follows from it."""
    if device.type == "cpu":
        return generator
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.Generator(device).manual_seed(seed)
