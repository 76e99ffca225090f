"""A learned embedding in which a copy of a slice lies near the slice, though it be moved, flipped, blurred or noisy.

Contrastive learning (Chen et al., SimCLR, 2020, equation 1): of a batch of training follow-ups two variants each are
made, and every variant must find its twin among all others by the cosine of their vectors. Dar et al. (arXiv
2402.01054, 2024) look for copies of patients with such an encoder. What a variant is says what counts as a copy:

    the outline of another brain; rotation, shift, scale, flip between left and right; a blur, noise, a power of the
    deviations from the mean

The other brain is that of a slice nearby in the list, mostly of the same level: a generator samples in the brain of its
baseline, and where the copied patient had none it may leave it dark.

The slices are listed by level, so that a batch, which is spread evenly along the list, holds slices of one level
of several patients: the encoder must tell patients apart, not levels.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional

from msdiff.errors import BadInput
from msdiff.networks.slice_encoder import SliceEncoder, SliceEncoderSettings
from msdiff.networks.weights import load_weights_of
from msdiff.privacy.slices import BLOCK, AveragedSlices, SliceSettings, Vectors, as_images, real_slices
from msdiff.settings import Settings, check
from msdiff.stack.reading import Stack, digest_of_rows
from msdiff.training import Trained, TrainingSettings, initialised, train

Share = Annotated[float, Field(ge=0, le=1)]


class VariantSettings(Settings):
    """How far a variant may lie from its slice; each is sampled evenly from none to this, either way.

    outline             probability that it is cut to another brain
    rotation_degrees
    shift               share of the field of view
    scale               of the logarithm of the size
    flip                probability of a flip between left and right
    blur                share of a mean over 3 x 3 pixels in the image
    noise               standard deviation, in those of the slice
    power               of the logarithm of the exponent on the deviations from the brain's mean
    """

    outline: Share
    rotation_degrees: NonNegativeFloat
    shift: Share
    scale: Share
    flip: Share
    blur: Share
    noise: NonNegativeFloat
    power: NonNegativeFloat


class EncoderSettings(Settings):
    """Section `privacy.embedding`; temperature of the softmax over cosines."""

    seed: NonNegativeInt
    network: SliceEncoderSettings
    temperature: PositiveFloat
    variants: VariantSettings
    training: TrainingSettings


class EmbeddingSettings(EncoderSettings):
    """What the command `train-embedding` takes: with the slices of `privacy.slices`."""

    slices: SliceSettings


class CopyTask:
    """What msdiff.training trains: an encoder of the training follow-ups."""

    def __init__(self, stack: Stack, settings: EmbeddingSettings) -> None:
        self.settings = settings
        rows = stack.slices[stack.slices["split"] == "train"].sort_values(["slice", "subject"], kind="stable")
        if rows["subject"].nunique() < 2:
            raise BadInput(f"{stack.folder}: expected follow-ups of two training patients or more; correct the splits")
        self.rows, self.patients = rows, sorted(rows["subject"].unique())
        slices = real_slices(stack, rows, "follow_up_row", settings.slices)
        self.images, self.inside = as_images(slices.pixels), as_images(slices.inside)
        self.modules: nn.Module = initialised(
            lambda: SliceEncoder(settings.network, settings.slices.side), settings.seed
        )
        self.indices = np.arange(len(self.images))
        self.weights = np.ones(len(self.images))

    def batch(self, indices: NDArray[np.int64], generator: np.random.Generator) -> dict[str, Tensor]:
        """Two variants of each slice (2 B, 1, S, S): all first ones, then all second ones."""
        twice = np.tile(indices, 2)
        near = (twice + generator.integers(1, len(self.patients), len(twice))) % len(self.images)
        varied = variants(self.images[twice], self.inside[twice], self.inside[near], self.settings.variants, generator)
        return {"slices": varied}

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """The loss, and the share of variants whose twin is the nearest."""
        cosines = twins = self.modules(batch["slices"]).float()
        cosines = (cosines @ cosines.T).fill_diagonal_(-torch.inf) / self.settings.temperature
        wanted = torch.arange(len(twins), device=twins.device).roll(len(twins) // 2)
        found = (cosines.argmax(1) == wanted).float().mean()
        return {"loss": functional.cross_entropy(cosines, wanted), "found": found}

    def validate(self) -> dict[str, float]:
        """Nothing: `find-nearest` measures the embedding on held-out patients."""
        return {}


def train_embedding(
    stack: Stack, settings: EmbeddingSettings, *, checkpoints: str | Path, minutes: float | None, device: torch.device
) -> Trained:
    """Train the encoder on the training follow-ups.

    Raises BadInput where there are fewer than two training patients.
    """
    task = CopyTask(stack, settings)
    description = {
        "kind": "embedding",
        "patients": task.patients,
        "settings": settings.model_dump(mode="json", exclude={"training"}),
    }
    identity = description | {
        "stack": stack.sha256(settings.slices.contrast, "brain_mask"),
        "slices": digest_of_rows(task.rows),
    }
    return train(
        task,
        settings.training,
        seed=settings.seed,
        checkpoints=checkpoints,
        minutes=minutes,
        identity=identity,
        device=device,
        description=description,
    )


class Embedding:
    """A trained encoder; `slices` tells which slices it takes."""

    def __init__(self, path: str | Path, device: torch.device) -> None:
        tensors, description = load_weights_of("embedding", path)
        settings = description["settings"]
        self.slices = check(SliceSettings, settings["slices"], "slices")
        self.device = device
        self.encoder = SliceEncoder(check(SliceEncoderSettings, settings["network"], "network"), self.slices.side)
        self.encoder.load_state_dict(tensors)
        self.encoder.to(device).eval()

    def __call__(self, slices: AveragedSlices) -> Vectors:
        """Vectors (slice, numbers) of length one."""
        images = normalised(as_images(slices.pixels))
        with torch.inference_mode():
            parts = [self.encoder(images[k : k + BLOCK].to(self.device)).cpu() for k in range(0, len(images), BLOCK)]
        return torch.cat(parts).numpy()


def variants(
    images: Tensor, inside: Tensor, outlines: Tensor, settings: VariantSettings, generator: np.random.Generator
) -> Tensor:
    """One variant of each image (B, 1, S, S), `inside` a brain and perhaps cut to another's; of mean square one."""
    n = len(images)
    cut = torch.from_numpy(generator.random(n) < settings.outline)[:, None, None, None]
    images = torch.where(cut, in_outline(images, inside, outlines), images)

    def uniformly(largest: float, *shape: int) -> NDArray[np.float64]:
        return generator.uniform(-largest, largest, (n, *shape))

    angle, size = np.deg2rad(uniformly(settings.rotation_degrees)), np.exp(uniformly(settings.scale))
    side = np.where(generator.random(n) < settings.flip, -1.0, 1.0)
    matrix = np.zeros((n, 2, 3), dtype=np.float32)
    matrix[:, 0, 0], matrix[:, 0, 1] = side * size * np.cos(angle), -size * np.sin(angle)
    matrix[:, 1, 0], matrix[:, 1, 1] = side * size * np.sin(angle), size * np.cos(angle)
    # In units of half the field of view.
    matrix[:, :, 2] = uniformly(2 * settings.shift, 2)
    grid = functional.affine_grid(torch.from_numpy(matrix), list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, align_corners=False)

    def each(values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(values.astype(np.float32))[:, None, None, None]

    blurred = moved + each(np.abs(uniformly(settings.blur))) * (functional.avg_pool2d(moved, 3, 1, 1) - moved)
    noise = torch.from_numpy(generator.standard_normal(images.shape, dtype=np.float32)) * (moved != 0)
    noisy = blurred + each(np.abs(uniformly(settings.noise))) * noise
    bent = noisy.sign() * noisy.abs() ** each(np.exp(uniformly(settings.power)))
    return normalised(bent)


def in_outline(images: Tensor, inside: Tensor, outlines: Tensor) -> Tensor:
    """Images (B, 1, S, S) in another brain: as dark as they get where they had no brain, about a mean of 0 again."""
    darkest = images.amin((2, 3), keepdim=True)
    filled = torch.where(inside > 0, images, darkest) * outlines
    mean = filled.sum((2, 3), keepdim=True) / outlines.sum((2, 3), keepdim=True).clamp(min=1)
    return (filled - mean) * outlines


def normalised(images: Tensor) -> Tensor:
    """Images (B, 1, S, S) with a mean square of one."""
    return functional.normalize(images.flatten(1), dim=1).reshape(images.shape) * images.shape[-1]
