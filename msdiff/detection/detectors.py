"""Training of a detector of new lesions: two slices of one place, baseline and follow-up, to the change between them.

The loss of a batch is a weighted binary cross-entropy and a soft Dice, both on the logits' probabilities p against the
change mask g, over all voxels of the batch:

    CE    sum w_g bce(p, g) / sum w_g                        w_g: one weight for no change, one for change
    Dice  1 - mean over {change, no change} of (2 sum p g + s) / (sum p + sum g + s)
    loss  CE + dice_weight * Dice

The published code hands probabilities to a cross-entropy that squashes them again, which holds every p between 0.27 and
0.73; here the logits are squashed once.

Augmentation acts alike on both slices and the mask: flips, an enlargement of which a window of the old size is kept,
and a Gaussian blur (slices only). Its random numbers come from the generator of the step. Real and
synthetic slices take the same way from here on.

References: Long-MS-Diff (2025); Kelly et al. (2024), medRxiv 2024.04.05.24305386, and the group's published training
code (weights 0.001 and 0.999, smoothing 1, AdamW 1e-4, batch 8, linear decay, best mean F1 on validation slices);
Milletari et al. (2016) for the soft Dice.
"""

import logging
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional

from msdiff.errors import BadInput
from msdiff.metrics.voxel import Confusion, confusion, dice
from msdiff.networks import detectors
from msdiff.networks.weights import sha256
from msdiff.sampling.shards import Shard, load_slices
from msdiff.settings import Settings, digest
from msdiff.stack.reading import Stack, digest_of_rows
from msdiff.training import Trained, TrainingSettings, initialised, train, with_share

log = logging.getLogger(__name__)

# Slices predicted at a time; no result depends on it.
PREDICTION_BATCH = 32
Share = Annotated[float, Field(ge=0, le=1)]


class LossSettings(Settings):
    """Weights of the loss's parts (see the module's docstring)."""

    no_change_weight: NonNegativeFloat
    change_weight: NonNegativeFloat
    dice_weight: NonNegativeFloat
    dice_smoothing: NonNegativeFloat


class AugmentationSettings(Settings):
    """How much slices are varied: probability per flip, enlargement up to a factor, blur up to a sigma."""

    flip_probability: Share
    largest_scale: Annotated[float, Field(ge=1)]
    largest_blur_voxels: NonNegativeFloat


class DetectorSettings(Settings):
    """One detector: network, loss, augmentation, training.

    positive_share is the share of sampled slices that hold change (None: as they are listed); `threshold` on p decides
    in the validation's F1.
    """

    architecture: str
    network: dict[str, Any]
    contrast: str
    loss: LossSettings
    augmentation: AugmentationSettings
    positive_share: Share | None
    threshold: Share
    training: TrainingSettings


class SlicePairs:
    """Pairs of slices by their place in a list: real ones from a stack, synthetic follow-ups from shards."""

    def __init__(self, stack: Stack, listed: pd.DataFrame, contrast: str) -> None:
        self.stack, self.contrast = stack, contrast
        self.listed = listed
        self.rows = listed[["baseline_row", "follow_up_row", "slice", "index"]].to_numpy(dtype=np.int64)
        self.shards = {folder: load_slices(folder, stack) for folder in listed["shard"].unique() if folder}
        _check_shards(self.shards, stack.grid.shape[1::-1])

    def __len__(self) -> int:
        """Number of slice pairs."""
        return len(self.listed)

    def read(self, places: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """Baselines and follow-ups (B, Y, X) in [-1, 1] and change masks (B, Y, X) of the list's `places` (B,)."""
        baseline_row, follow_up_row, level, index = self.rows[places].T
        baseline = self.stack.read(self.contrast, baseline_row, level).astype(np.float32)
        follow_up, change = np.empty_like(baseline), np.zeros(baseline.shape, dtype=bool)
        folders = self.listed["shard"].to_numpy()[places]
        real = folders == ""
        follow_up[real] = self.stack.read(self.contrast, follow_up_row[real], level[real])
        change[real] = self.stack.read("change_mask", follow_up_row[real], level[real])
        for item in np.flatnonzero(~real):
            shard = self.shards[folders[item]]
            follow_up[item] = shard.read("follow_up", index[item])
            change[item] = shard.read("change_mask", index[item])
        return baseline, follow_up, change

    def positive(self) -> NDArray[np.bool_]:
        """Whether each pair (N,) holds change."""
        return np.array([self.read(np.array([place]))[2].any() for place in range(len(self))], dtype=bool)


class DetectorTask:
    """What msdiff.training trains: a detector on listed slices, scored on the validation patients' slices."""

    def __init__(self, stack: Stack, listed: pd.DataFrame, settings: DetectorSettings, network: nn.Module) -> None:
        self.settings = settings
        self.modules = network
        self.slices = SlicePairs(stack, listed, settings.contrast)
        self.indices = np.arange(len(self.slices))
        self.weights = _weights(self.slices, settings.positive_share)
        self.validation = SlicePairs(stack, validation_slices(stack), settings.contrast)
        self.brains = stack.array("brain_mask")

    def batch(self, indices: NDArray[np.int64], generator: np.random.Generator) -> dict[str, Tensor]:
        """Augmented slices (B, 1, Y, X) of the list's places (B,)."""
        baseline, follow_up, change = self.slices.read(indices)
        images = torch.from_numpy(np.stack([baseline, follow_up], axis=1))
        mask = torch.from_numpy(change[:, None].astype(np.float32))
        images, mask = augment(images, mask, self.settings.augmentation, generator)
        return {"baseline": images[:, :1], "follow_up": images[:, 1:], "change": mask}

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """The loss and its parts; nothing in it is random."""
        logits = self.modules(batch["baseline"], batch["follow_up"])
        return detection_loss(logits.float(), batch["change"], self.settings.loss)

    def validate(self) -> dict[str, float]:
        """Mean F1 over change and no change, pooled over the brain voxels of the validation slices, as `score`.

        Nothing where there are no validation slices.
        """
        if not len(self.validation):
            return {}
        counts = Confusion(0, 0, 0, 0)
        for start in range(0, len(self.validation), PREDICTION_BATCH):
            places = np.arange(start, min(start + PREDICTION_BATCH, len(self.validation)))
            baseline, follow_up, change = self.validation.read(places)
            _, row, level, _ = self.validation.rows[places].T
            predicted = change_probability(self.modules, baseline, follow_up) >= self.settings.threshold
            these = confusion(change, predicted, np.asarray(self.brains[row, level], dtype=bool))
            counts = Confusion(*np.add(counts, these).tolist())
        mirrored = Confusion(tp=counts.tn, fp=counts.fn, fn=counts.fp, tn=counts.tp)
        f1 = dice(counts, empty=1.0)
        return {"score": (f1 + dice(mirrored, empty=1.0)) / 2, "f1": f1}


def train_detector(
    stack: Stack,
    listed: pd.DataFrame,
    settings: DetectorSettings,
    *,
    seed: int,
    checkpoints: str | Path,
    minutes: float | None,
    device: torch.device | str,
) -> Trained:
    """Train a detector on a list of slices (msdiff.detection.mixes).

    The description's `architecture` and `network` build the network again; `patients` are those whose slices it saw.
    Raises BadInput where the best weights are to be kept and there is no validation slice, BadSettings for an unknown
    architecture, and what `train` raises.
    """
    network = initialised(lambda: detectors.build(settings.architecture, settings.network, fresh=True), seed)
    task = DetectorTask(stack, listed, settings, network)
    if settings.training.keep == "best" and not len(task.validation):
        raise BadInput(
            f"{stack.folder}: expected slices of split validation, by which the best weights are chosen, got none; "
            "assign patients to it, or set training.keep to last"
        )
    kinds = listed["kind"].value_counts()
    description = {
        "kind": "detector",
        "architecture": settings.architecture,
        "network": settings.network,
        "contrast": settings.contrast,
        "grid": {"shape": list(stack.grid.shape), "affine": stack.grid.affine.tolist()},
        "seed": seed,
        "settings": settings.model_dump(mode="json"),
        "n_real": int(kinds.get("real", 0)),
        "n_synthetic": int(kinds.get("synthetic", 0)),
        "patients": sorted(listed["subject"].unique()),
        "slices": digest(listed.to_csv(index=False)),
    }
    identity = {
        **{key: value for key, value in description.items() if key not in ("settings", "patients")},
        "settings": settings.model_dump(mode="json", exclude={"training"}),
        "stack": stack.sha256(settings.contrast, "change_mask"),
        "validation": digest_of_rows(validation_slices(stack)),
        "shards": {folder: sha256(Path(folder) / "follow_up.npy") for folder in task.slices.shards},
    }
    log.info(
        "training %s on %d real and %d synthetic slices",
        settings.architecture,
        *kinds.reindex(["real", "synthetic"], fill_value=0),
    )
    return train(
        task,
        settings.training,
        seed=seed,
        checkpoints=checkpoints,
        minutes=minutes,
        identity=identity,
        device=device,
        description=description,
    )


def validation_slices(stack: Stack) -> pd.DataFrame:
    """All slices of the validation patients, as a list of real slices."""
    slices = stack.slices[stack.slices["split"] == "validation"]
    return slices.assign(kind="real", shard="", index=-1).reset_index(drop=True)


def detection_loss(logits: Tensor, change: Tensor, settings: LossSettings) -> dict[str, Tensor]:
    """`loss`, `cross_entropy` and `soft_dice` of logits and masks (B, 1, Y, X); see the module's docstring."""
    weight = torch.where(change > 0.5, settings.change_weight, settings.no_change_weight)
    each = functional.binary_cross_entropy_with_logits(logits, change, reduction="none")
    cross_entropy = (weight * each).sum() / weight.sum()
    soft_dice = torch.zeros_like(cross_entropy)
    for probability, truth in ((logits.sigmoid(), change), ((-logits).sigmoid(), 1 - change)):
        shared = 2 * (probability * truth).sum() + settings.dice_smoothing
        soft_dice = soft_dice + (1 - shared / (probability.sum() + truth.sum() + settings.dice_smoothing)) / 2
    loss = cross_entropy + settings.dice_weight * soft_dice
    return {"loss": loss, "cross_entropy": cross_entropy, "soft_dice": soft_dice}


def augment(
    images: Tensor, mask: Tensor, settings: AugmentationSettings, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Flip, enlarge and crop, blur: images (B, C, Y, X) linearly, masks (B, 1, Y, X) by nearest neighbour.

    All images of an item are varied alike.
    """
    n = len(images)
    flips = np.where(generator.random((n, 2)) < settings.flip_probability, -1.0, 1.0)
    scale = generator.uniform(1, settings.largest_scale, n)
    # In units of half the field of view: the window may move until it meets the border.
    shift = generator.uniform(-1, 1, (n, 2)) * (1 - 1 / scale)[:, None]
    sigma = generator.uniform(0, 1, n) * settings.largest_blur_voxels
    matrix = np.zeros((n, 2, 3), dtype=np.float32)
    matrix[:, [0, 1], [0, 1]] = flips / scale[:, None]
    matrix[:, :, 2] = shift
    grid = functional.affine_grid(torch.from_numpy(matrix), [n, 1, *images.shape[2:]], align_corners=False)
    images = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    mask = functional.grid_sample(mask, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return _blur(images, sigma, settings.largest_blur_voxels), mask


def change_probability(
    network: nn.Module, baseline: NDArray[np.float32], follow_up: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Probability of change (N, Y, X) in slices (N, Y, X) in [-1, 1]; the network in evaluation mode, on its device."""
    device = next(network.parameters()).device
    parts = []
    with torch.inference_mode():
        for start in range(0, len(baseline), PREDICTION_BATCH):
            part = slice(start, start + PREDICTION_BATCH)
            first, second = (torch.from_numpy(side[part, None]).to(device) for side in (baseline, follow_up))
            parts.append(network(first, second)[:, 0].float().sigmoid().cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros(baseline.shape, dtype=np.float32)


def _weights(slices: SlicePairs, positive_share: float | None) -> NDArray[np.float64]:
    """How often each slice is chosen: those with change make up their share; all alike where there is only one kind."""
    weights = np.ones(len(slices))
    if positive_share is None:
        return weights
    positive = slices.positive()
    if positive.all() or not positive.any():
        return weights
    return with_share(positive, positive_share)


def _blur(images: Tensor, sigma: NDArray[np.float64], largest: float) -> Tensor:
    """Gaussian blur of each item by its own sigma in voxels, borders repeated."""
    radius = int(np.ceil(3 * largest))
    if radius == 0:
        return images
    n, channels, height, width = images.shape
    offsets = np.arange(-radius, radius + 1)
    kernels = np.exp(-0.5 * (offsets / np.maximum(sigma, 1e-3)[:, None]) ** 2)
    kernels = np.repeat(kernels / kernels.sum(axis=1, keepdims=True), channels, axis=0).astype(np.float32)
    kernel = torch.from_numpy(kernels)[:, None, None]
    flat = functional.pad(images.reshape(1, n * channels, height, width), [radius] * 4, mode="replicate")
    flat = functional.conv2d(flat, kernel, groups=n * channels)
    return functional.conv2d(flat, kernel.mT, groups=n * channels).reshape(images.shape)


def _check_shards(shards: dict[str, Shard], shape: tuple[int, ...]) -> None:
    for folder, shard in shards.items():
        if shard.shape("follow_up") != shape:
            raise BadInput(
                f"{folder}: expected slices of the stack's shape {shape}, got {shard.shape('follow_up')}; "
                "sample on this stack"
            )
