"""Long-MS-Diff: a diffusion model of follow-up slices, conditioned on baseline, change mask and three scalars.

Mathur, Kelly, Killeen and Lawlor, Long-MS-Diff, MIDL 2025. A UNet sees the noisy follow-up and five channels of
conditions (conditions.py). With a residual `target` it sees the noisy difference to the baseline instead, divided by a
scale; sampling adds the baseline again, and L_seg always sees the follow-up. Two losses are balanced (balance.py):

    L_recon     squared error of the prediction, and with a learned variance its variational bound (Nichol and Dhariwal
                2021, "improved diffusion", on which the paper builds)
    L_seg       a frozen detector of change marks (baseline, x_hat); Dice and cross-entropy to the change mask, averaged
                with weight alpha^2 over the samples of a batch with t below a bound: x_hat means nothing in much noise

The baseline is now and then replaced with noise, so that the network learns to heed mask and scalars (section 2,
"conditioning dropout"). What the paper leaves open is chosen in the config; docs/long_ms_diff.md says why.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from msdiff.diffusion.guidance import dropped, without
from msdiff.errors import BadInput
from msdiff.networks.compiled import Call, When
from msdiff.networks.detectors import load_detector
from msdiff.networks.weights import sha256
from msdiff.settings import check
from msdiff.stack.reading import Stack, digest_of_rows
from msdiff.synthesis.long_ms_diff.balance import build_balance
from msdiff.synthesis.long_ms_diff.conditions import channels, continued, standardised, statistics_of
from msdiff.synthesis.long_ms_diff.denoiser import Denoiser
from msdiff.synthesis.long_ms_diff.follow_ups import FollowUpSampler
from msdiff.synthesis.long_ms_diff.options import LongMSDiffSettings
from msdiff.synthesis.long_ms_diff.pretrained import read_pretrained
from msdiff.synthesis.long_ms_diff.previews import Previewer
from msdiff.synthesis.plan import scalars_of, training_slices
from msdiff.training import Previews, Trained, initialised, on_device, train, with_share

log = logging.getLogger(__name__)

# An epoch is as many sampled slices as the training split has. Diffusion models trained for less sampled noise.
FEW_EPOCHS = 100


class LongMSDiff:
    """The training task: slices of the training split, one step's loss."""

    def __init__(self, stack: Stack, settings: LongMSDiffSettings, auxiliary: nn.Module) -> None:
        self.slices = training_slices(stack)
        self.settings = settings
        self.stack = stack
        self.pretrained = None if settings.pretrained is None else read_pretrained(settings.pretrained, settings)
        self.statistics = statistics_of(self.slices, settings.scalars)
        if self.pretrained is not None:
            self.statistics = continued(self.pretrained.statistics, self.statistics)
        self.scalars = standardised(scalars_of(self.slices, settings.scalars), self.statistics)
        positive = (self.slices["change_voxels"] > 0).to_numpy()
        self.indices = np.arange(len(self.slices))
        self.weights = with_share(positive, settings.positive_fraction)
        self.modules: nn.Module = initialised(
            lambda: nn.ModuleDict(
                {
                    "denoiser": Denoiser(settings),
                    "balance": build_balance(settings.auxiliary.balance),
                }
            ),
            settings.seed,
        )
        if self.pretrained is not None:
            self.denoiser.fill(self.pretrained.tensors)
        self.auxiliary = auxiliary.eval().requires_grad_(False)
        self.compiled: Call | None = None

    @property
    def denoiser(self) -> Denoiser:
        """The network in training."""
        denoiser: Denoiser = self.modules["denoiser"]  # type: ignore[index]
        return denoiser

    @property
    def network(self) -> nn.Module:
        """What may be compiled."""
        return self.denoiser.network

    def batch(self, indices: NDArray[np.int64], generator: np.random.Generator) -> dict[str, Tensor]:
        """Baseline, follow-up and change mask (B, 1, H, W) and standardised scalars (B, 3)."""
        rows = self.slices.iloc[indices]
        flips = generator.random(len(indices)) < self.settings.flip

        def read(name: str, scan: str) -> Tensor:
            images = self.stack.read(name, rows[scan], rows["slice"]).astype(np.float32)
            images[flips] = images[flips, :, ::-1]
            return torch.from_numpy(images)[:, None]

        return {
            "baseline": read(self.settings.contrast, "baseline_row"),
            "follow_up": read(self.settings.contrast, "follow_up_row"),
            "change_mask": read("change_mask", "follow_up_row"),
            "scalars": torch.from_numpy(self.scalars[indices]),
        }

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """The balanced loss, its two parts, lambda, and the plain error in all of the image and in the change mask."""
        denoiser = self.denoiser
        objective = denoiser.objective
        baseline, mask = batch["baseline"], batch["change_mask"]
        x = denoiser.clean(batch["follow_up"], baseline)
        rng = on_device(generator, x.device)
        noised = objective.noised(x, rng)
        answer = denoiser(noised.z, noised.logsnr, self._condition(batch, rng), self.compiled)
        simple = objective.loss(answer.prediction, noised, mask)
        reconstruction = objective.with_bound(simple.loss, answer, noised)
        gated = noised.time < self.settings.auxiliary.maximum_time
        estimate = denoiser.follow_up(answer.x_hat, baseline)
        segmentation = segmentation_loss(
            self.auxiliary, baseline[gated], estimate[gated], mask[gated], torch.sigmoid(noised.logsnr[gated])
        )
        present = gated.any().float()
        weighed = self.modules["balance"](reconstruction, segmentation, present, denoiser.last)  # type: ignore[index]
        return {
            "loss": weighed.total,
            "reconstruction": reconstruction,
            **objective.named(simple.loss, simple.lesion_error),
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
        given = self.settings.conditions
        return channels(baseline, without(mask, zero, drop), without(scalars, zero, drop), given)


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
    compile_when: When = "never",
) -> Trained:
    """Train on the stack's training split; see msdiff.synthesis.

    Raises BadSettings for settings of another form, BadInput where the training split is empty or without any change,
    or the auxiliary weights are no detector's of this contrast.
    """
    chosen = check(LongMSDiffSettings, settings, "synthesis.long_ms_diff")
    detector, contrast = load_detector(auxiliary)
    if contrast != chosen.contrast:
        raise BadInput(f"{auxiliary}: expected a detector in {chosen.contrast}, got one in {contrast}")
    task = LongMSDiff(stack, chosen, detector.to(device))
    # Previews change nothing, and the digest of pretrained weights says more than their path.
    described = chosen.model_dump(mode="json", exclude={"training", "preview", "pretrained"})
    identity = {
        "settings": described,
        "stack": stack.sha256(chosen.contrast, "change_mask"),
        "slices": digest_of_rows(task.slices),
        "auxiliary": sha256(auxiliary),
        "pretrained": None if task.pretrained is None else task.pretrained.sha256,
    }
    _log_slices(task)
    description = {
        "kind": "generator",
        "generator": chosen.generator,
        "settings": chosen.model_dump(mode="json"),
        "statistics": task.statistics,
        "auxiliary_sha256": identity["auxiliary"],
        "pretrained_sha256": identity["pretrained"],
        "patients": sorted(task.slices["subject"].unique()),
    }
    sampler = FollowUpSampler(task.denoiser, task.statistics, chosen, device)
    trained = train(
        task,
        chosen.training,
        seed=chosen.seed,
        checkpoints=checkpoints,
        minutes=minutes,
        identity=identity,
        device=device,
        description=description,
        compile_when=compile_when,
        previews=Previews(chosen.preview.every, Previewer(stack, sampler, chosen.preview)),
    )
    prefix = "denoiser."
    tensors = {name[len(prefix) :]: value for name, value in trained.tensors.items() if name.startswith(prefix)}
    return trained._replace(tensors=tensors)


def _log_slices(task: LongMSDiff) -> None:
    """Log how many slices there are, and warn if each is seen too seldom."""
    slices, training = task.slices, task.settings.training
    log.info(
        "long_ms_diff: %d training slices of %d pairs, %d with a change",
        len(slices),
        slices["pair"].nunique(),
        (slices["change_voxels"] > 0).sum(),
    )
    epochs = training.steps * training.batch_size / len(slices)
    if epochs < FEW_EPOCHS:
        log.warning(
            "%.0f epochs (steps x batch / slices) are few, samples may stay noise; train for %d", epochs, FEW_EPOCHS
        )
