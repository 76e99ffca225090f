"""Pictures of what a generator samples while it trains: one row per pair of scans, real beside generated.

The pairs, their slices and the seeds of the noise are the same at every step, so that only the weights make pictures
differ. Each row holds the baseline, the baseline with the change mask's outline, the real follow-up, the generated one,
and generated minus baseline (red is brighter, blue darker). The history gets `lesion_error`, the mean absolute
difference of generated and real follow-up in the change masks, and `outside_error`, that in the rest of the brain.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, binary_erosion

from msdiff.images import BACKGROUND
from msdiff.stack.reading import Stack
from msdiff.synthesis.long_ms_diff.follow_ups import FollowUpSampler
from msdiff.synthesis.long_ms_diff.options import PreviewSettings
from msdiff.synthesis.plan import scalars_of
from msdiff.writing import whole_file

COLUMNS = ("baseline", "change mask", "real", "generated", "generated - baseline")
OUTLINE = (240, 80, 50)
# Difference, in normalised units, that has the full colour.
FULL_COLOUR = 0.5
# Pixels: of the smallest side of a panel, of a line of text, between panels.
SMALLEST_PANEL, LINE, GAP = 128, 16, 2

Slices = NDArray[np.float32]


class Previewer:
    """Samples the same slices again and again; `sampler` is that of the network in training."""

    def __init__(self, stack: Stack, sampler: FollowUpSampler, settings: PreviewSettings) -> None:
        self.sampler = sampler
        self.settings = settings
        self.rows = preview_slices(stack.slices, settings.pairs)
        contrast = sampler.settings.contrast
        self.baseline = _read(stack, contrast, self.rows, "baseline_row")
        self.real = _read(stack, contrast, self.rows, "follow_up_row")
        self.mask = _read(stack, "change_mask", self.rows, "follow_up_row") > 0
        self.brain = _read(stack, "brain_mask", self.rows, "baseline_row") > 0
        self.scalars = torch.from_numpy(scalars_of(self.rows, sampler.settings.scalars))

    def __call__(self, folder: Path, step: int) -> dict[str, float]:
        """Write `step-{step}.png` into the folder and return the errors; for msdiff.training.Previews."""
        seeds = list(range(len(self.rows)))
        sampled = self.sampler(
            torch.from_numpy(self.baseline)[:, None],
            torch.from_numpy(self.mask.astype(np.float32))[:, None],
            self.scalars,
            seeds,
            self.settings.sampler,
        )
        generated = np.where(self.brain, sampled[:, 0].float().cpu().numpy().clip(-1, 1), BACKGROUND)
        with whole_file(folder / f"step-{step:09d}.png") as temporary:
            grid(self.baseline, self.mask, self.real, generated, step).save(temporary, format="png")
        error = np.abs(generated - self.real)
        return {
            "lesion_error": float(error[self.mask].mean()),
            "outside_error": float(error[self.brain & ~self.mask].mean()),
        }


def preview_slices(slices: pd.DataFrame, pairs: int) -> pd.DataFrame:
    """Of at most so many pairs of scans, spread over the list, the slice with the most change.

    Pairs of validation patients where any has a change, else of training patients.
    """
    changed = slices[slices["change_voxels"] > 0]
    held_out = changed[changed["split"] == "validation"]
    of_split = changed[changed["split"] == "train"] if held_out.empty else held_out
    best = of_split.loc[of_split.groupby("pair", sort=True)["change_voxels"].idxmax()]
    places = np.linspace(0, len(best) - 1, min(pairs, len(best))).round().astype(int)
    return best.iloc[places].reset_index(drop=True)


def grid(baseline: Slices, mask: NDArray[np.bool_], real: Slices, generated: Slices, step: int) -> Image.Image:
    """The picture of slices (row, y, x) in [-1, 1], with the columns' names and the step at the top."""
    height, width = baseline.shape[1:]
    times = -(-SMALLEST_PANEL // min(height, width))
    panels = [
        [_grey(before), _outlined(before, change, times), _grey(after), _grey(sampled), _difference(sampled - before)]
        for before, change, after, sampled in zip(baseline, mask, real, generated, strict=True)
    ]
    high, wide = height * times + GAP, width * times + GAP
    picture = Image.new("RGB", (wide * len(COLUMNS), LINE + high * len(panels)))
    text, font = ImageDraw.Draw(picture), ImageFont.load_default(size=LINE - 5)
    for column, name in enumerate(COLUMNS):
        text.text((column * wide + 3, 0), f"step {step}: {name}" if column == 0 else name, "white", font)
    for row, images in enumerate(panels):
        for column, pixels in enumerate(images):
            # The first line of a slice is its lowest.
            panel = Image.fromarray(np.ascontiguousarray(pixels[::-1]))
            panel = panel.resize((width * times, height * times), Image.Resampling.NEAREST)
            picture.paste(panel, (column * wide, LINE + row * high))
    return picture


def _grey(image: Slices) -> NDArray[np.uint8]:
    """Colours (y, x, 3) of a slice in [-1, 1]."""
    level = ((image.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
    return np.repeat(level[..., None], 3, axis=2)


def _outlined(image: Slices, mask: NDArray[np.bool_], times: int) -> NDArray[np.uint8]:
    """A slice in grey, each voxel as many pixels as shown, with a thin line around the mask."""
    pixels = np.repeat(np.repeat(_grey(image), times, 0), times, 1)
    marked = np.repeat(np.repeat(mask, times, 0), times, 1)
    # Where a voxel is a pixel, the line would hide small lesions from within.
    line = binary_dilation(marked) & ~marked if times == 1 else marked & ~binary_erosion(marked)
    pixels[line] = OUTLINE
    return pixels


def _difference(image: Slices) -> NDArray[np.uint8]:
    """White where there is none, red where it is positive, blue where negative."""
    share = (image / FULL_COLOUR).clip(-1, 1)
    fading = 1 - np.abs(share)
    red, blue = np.where(share > 0, 1, fading), np.where(share < 0, 1, fading)
    return (np.stack([red, fading, blue], axis=2) * 255).round().astype(np.uint8)


def _read(stack: Stack, name: str, rows: pd.DataFrame, scan: str) -> Slices:
    """Slices (row, y, x) of an array of the stack."""
    return stack.read(name, rows[scan], rows["slice"]).astype(np.float32)
