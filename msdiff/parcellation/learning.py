"""Training of the SynthSeg network on painted label maps.

The loss is cross-entropy plus soft Dice over the labels that a crop holds. A map that knows tissues only is compared
with the posteriors summed over the structures that each tissue may be.
"""

import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from msdiff.networks.synthseg_unet import SynthSegSettings, SynthSegUNet
from msdiff.parcellation.label_maps import (
    CODES,
    MERGED,
    PHANTOM,
    POSITIONS,
    SUFFIX,
    TISSUE_OF,
    LabelMap,
    label_map_paths,
    phantom_map,
    read_label_map,
)
from msdiff.parcellation.painting import RIGHT_TO_LEFT, Painted, PaintingSettings, Share, paint
from msdiff.settings import Settings
from msdiff.training import Trained, TrainingSettings, initialised, newest_average, train

log = logging.getLogger(__name__)

# The structures of SynthSeg 2.0, in the order of our posteriors: those without a side, left, right. FreeSurfer's codes;
# exported weights carry this list, and the official ones go by number.
# fmt: off
LABELS = (
    0, 14, 15, 16, 24,
    2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 17, 18, 26, 28,
    41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60,
)
# fmt: on
# What the phantom's map tells apart.
TISSUES = ("background", *TISSUE_OF)


class ParcellatorSettings(Settings):
    """What `train_parcellator` reads.

    label_maps          folder of SynthSeg's training maps
    held_out            maps that are never trained on; the validation paints them
    phantom_share       of the crops: painted from the phantom's map
    frozen_share        of the steps, at the end: batch norms keep their statistics
    dice_weight         of the soft Dice loss beside the cross-entropy
    storage             of the exported weights
    """

    label_maps: str | None
    held_out: tuple[str, ...]
    seed: NonNegativeInt
    phantom_share: Share
    frozen_share: Share
    dice_weight: NonNegativeFloat
    network: SynthSegSettings
    painting: PaintingSettings
    training: TrainingSettings
    validation_images: PositiveInt
    storage: Literal["float32", "float16"]


class Parcellation:
    """A `training.Task`; indices are positions in `maps`."""

    def __init__(self, maps: list[LabelMap], held_out: list[LabelMap], settings: ParcellatorSettings) -> None:
        self.maps = maps
        self.settings = settings
        self.indices = np.arange(len(maps), dtype=np.int64)
        phantoms = np.array([label_map.tissues_only for label_map in maps])
        share = settings.phantom_share
        self.weights = np.where(phantoms, share / max(1, phantoms.sum()), (1 - share) / max(1, (~phantoms).sum()))
        frozen_after = round(settings.training.steps * (1 - settings.frozen_share))
        self.modules: nn.Module = initialised(
            lambda: SynthSegUNet(settings.network, frequencies(maps), frozen_after), settings.seed
        )
        rng = np.random.default_rng([settings.seed, 1])
        wanted = settings.validation_images if held_out else 0
        self.held_out = [self._pair(held_out[k % len(held_out)], rng) for k in range(wanted)]

    def batch(self, indices: NDArray[np.int64], generator: np.random.Generator) -> dict[str, Tensor]:
        """Images (B, 1, X, Y, Z), targets (B, X, Y, Z), and whether they are tissues (B,); all of one size."""
        # The sizes of a batch are one: the first item's choice decides for all.
        side = int(generator.choice(self.settings.painting.crop_voxels))
        painting = self.settings.painting.model_copy(update={"crop_voxels": (side,)})
        pairs = [self._pair(self.maps[index], generator, painting) for index in indices]
        return {
            "image": torch.stack([image for image, _ in pairs])[:, None],
            "target": torch.stack([target for _, target in pairs]),
            "tissues": torch.tensor([self.maps[index].tissues_only for index in indices]),
        }

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy plus weighted soft Dice, averaged over the batch."""
        del generator
        logits = self.modules(batch["image"].contiguous(memory_format=torch.channels_last_3d))
        parts = []
        for item, target, tissues in zip(logits, batch["target"], batch["tissues"], strict=True):
            logarithms = torch.log_softmax(item.float().flatten(1), dim=0)
            if bool(tissues):
                logarithms = summed_over_tissues(logarithms)
            parts.append(segmentation_loss(logarithms, target.flatten().long()))
        entropy, dice = torch.stack(parts).mean(dim=0).unbind()
        return {"loss": entropy + self.settings.dice_weight * dice, "cross_entropy": entropy, "soft_dice": dice}

    def validate(self) -> dict[str, float]:
        """Dice of cerebral white matter and cortex, mean over the held-out images."""
        device = next(self.modules.parameters()).device
        pairs: dict[str, list[float]] = {"white_matter": [], "cortex": []}
        for image, target in self.held_out:
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.settings.training.precision == "bf16"):
                found = self.modules(image[None, None].to(device)).argmax(dim=1)[0].cpu()
            for name, codes in (("white_matter", (2, 41)), ("cortex", (3, 42))):
                pairs[name].append(float(np.mean([dice_of(found, target, LABELS.index(code)) for code in codes])))
        means = {name: float(np.mean(values)) if values else 0.0 for name, values in pairs.items()}
        return means | {"score": float(np.mean(list(means.values())))}

    def _pair(
        self, label_map: LabelMap, rng: np.random.Generator, painting: PaintingSettings | None = None
    ) -> tuple[Tensor, Tensor]:
        painted = paint(label_map, painting or self.settings.painting, rng)
        return torch.from_numpy(painted.image), torch.from_numpy(target_of(painted, label_map.tissues_only))


def target_of(painted: Painted, tissues_only: bool) -> NDArray[np.uint8]:
    """Positions in LABELS, or in TISSUES, of a painted map (X, Y, Z); left and right changed where it is mirrored."""
    return _TARGETS[tissues_only, painted.mirrored][painted.codes]


def frequencies(maps: list[LabelMap]) -> NDArray[np.float64]:
    """Of LABELS (L,) in the brain's box of the maps, left and right alike, each at least one in ten thousand."""
    counts = np.zeros(len(LABELS))
    for label_map in maps:
        if not label_map.tissues_only:
            for mirrored in (False, True):
                low, high = label_map.brain_box.astype(int)
                box = tuple(slice(first, last + 1) for first, last in zip(low, high, strict=True))
                found = np.bincount(label_map.codes[box].reshape(-1), minlength=len(CODES))
                counts += np.bincount(_TARGETS[False, mirrored], weights=found, minlength=len(LABELS))
    shares = np.maximum(counts / max(counts.sum(), 1), 1e-4)
    return np.asarray(shares / shares.sum())


def summed_over_tissues(logarithms: Tensor) -> Tensor:
    """Log posteriors (labels, N) to those of TISSUES (tissues, N)."""
    return torch.stack([torch.logsumexp(logarithms[list(members)], dim=0) for members in _MEMBERS])


def segmentation_loss(logarithms: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy and soft Dice loss (2,) of log posteriors (labels, N) and target positions (N,).

    Dice is over the labels that occur, for a crop holds few; the cross-entropy keeps the others away.
    """
    labels = len(logarithms)
    own = logarithms.gather(0, target[None])[0]
    held = torch.zeros(labels, device=own.device).index_add(0, target, torch.ones_like(own))
    hit = torch.zeros(labels, device=own.device).index_add(0, target, own.exp())
    claimed = logarithms.exp().sum(dim=1)
    dice = (2 * hit / (held + claimed))[held > 0]
    return torch.stack([-own.mean(), 1 - dice.mean()])


def dice_of(found: Tensor, target: Tensor, position: int) -> float:
    """Dice of one label; NaN where neither holds it."""
    a, b = found == position, target == position
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else float("nan")


def train_parcellator(
    settings: ParcellatorSettings, checkpoints: Path, minutes: float | None, device: torch.device
) -> Trained:
    """Train on the label maps, or continue.

    Raises BadInput without label maps, and as `training.train`.
    """
    train_names, held_out_names = map_names(settings)
    log.info("label maps: %s; held out: %s", ", ".join(train_names), ", ".join(held_out_names))
    maps, held_out = (
        [read_label_map(path) for path in paths] for paths in label_map_paths(settings.label_maps, settings.held_out)
    )
    if settings.phantom_share > 0:
        maps.append(phantom_map())
    task = Parcellation(maps, held_out, settings)
    identity = {
        "network": settings.network.model_dump(mode="json"),
        "painting": settings.painting.model_dump(mode="json"),
        "maps": train_names,
        "held_out": held_out_names,
        "rest": [settings.phantom_share, settings.frozen_share, settings.dice_weight, settings.validation_images],
    }
    return train(
        task,
        settings.training,
        seed=settings.seed,
        checkpoints=checkpoints,
        minutes=minutes,
        identity=identity,
        device=device,
        description=describe(settings, train_names, held_out_names),
    )


def unfinished(checkpoints: Path, settings: ParcellatorSettings) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What a training that has not ended has reached, and its description; BadInput without checkpoint or maps."""
    tensors, step = newest_average(checkpoints)
    train_names, held_out = map_names(settings)
    description = describe(settings, train_names, held_out)
    description["training"]["steps"] = step
    return tensors, description


def map_names(settings: ParcellatorSettings) -> tuple[list[str], list[str]]:
    """Names of the maps to train on and of the held-out ones; BadInput as `label_map_paths`."""
    train, held_out = label_map_paths(settings.label_maps, settings.held_out)
    names = [[path.name.removesuffix(SUFFIX) for path in paths] for paths in (train, held_out)]
    return names[0] + ([PHANTOM] if settings.phantom_share > 0 else []), names[1]


def describe(settings: ParcellatorSettings, maps: list[str], held_out: list[str]) -> dict[str, Any]:
    """What a weights file says of itself."""
    return {
        "architecture": "synthseg_unet",
        "network": settings.network.model_dump(mode="json"),
        "labels": list(LABELS),
        "spacing_mm": settings.painting.spacing_mm,
        "storage": settings.storage,
        "training": {
            "label_maps": maps,
            "held_out": held_out,
            "source": "SynthSeg training label maps (Billot et al. 2023), Apache-2.0; phantom: ICBM 152 atlas",
            "steps": settings.training.steps,
            "seed": settings.seed,
            "settings": settings.model_dump(mode="json", exclude={"label_maps"}),
        },
    }


def _lookup(tissues_only: bool, mirrored: bool) -> NDArray[np.uint8]:
    other = RIGHT_TO_LEFT | {left: right for right, left in RIGHT_TO_LEFT.items()}
    table = np.zeros(len(CODES), dtype=np.uint8)
    for code, position in POSITIONS.items():
        label = MERGED.get(code, code)
        if mirrored:
            label = other.get(label, label)
        if not tissues_only:
            table[position] = LABELS.index(label) if label in LABELS else 0
            continue
        tissue = [name for name, members in TISSUE_OF.items() if label in members]
        table[position] = TISSUES.index(tissue[0]) if tissue else 0
    return table


_TARGETS = {(tissues, mirrored): _lookup(tissues, mirrored) for tissues in (False, True) for mirrored in (False, True)}
_MEMBERS = [[LABELS.index(0)]] + [[LABELS.index(code) for code in TISSUE_OF[name]] for name in TISSUES[1:]]
