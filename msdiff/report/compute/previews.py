"""The figure of previews: samples of the same slices during the generator's training."""

import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from msdiff.report.phrases import listed
from msdiff.report.pictures import ORIENTATION, STYLE, Picture

WIDTH_INCHES = 9.0


def plot_previews(paths: Sequence[Path]) -> Picture | None:
    """The first preview, the one in the middle and the last, below each other; None where there is none.

    `paths` are PNG files named step-{step}.png, as the training writes them.
    """
    found = sorted(paths, key=_step)
    if not found:
        return None
    chosen = [found[number] for number in sorted({0, (len(found) - 1) // 2, len(found) - 1})]
    pictures = []
    for path in chosen:
        with Image.open(path) as image:
            pictures.append(np.asarray(image.convert("RGB")))
    heights = [WIDTH_INCHES * picture.shape[0] / picture.shape[1] for picture in pictures]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, sum(heights) + 0.3 * len(heights)), layout="constrained")
        axes = figure.subplots(len(pictures), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, picture, path in zip(axes, pictures, chosen, strict=True):
            axis.imshow(picture)
            axis.set_title(f"Step {_step(path)}", fontsize=9, loc="left")
            axis.axis("off")
    steps = [str(_step(path)) for path in chosen]
    caption = (
        f"{ORIENTATION} Sampled after {listed(steps)} steps, of the same slices and from the same noise, so that only "
        "the weights make the pictures differ. Each row: baseline, the change asked for, real follow-up, generated "
        "follow-up, and generated less baseline (red is brighter, blue darker)."
    )
    return Picture(figure, "Samples of the generator during its training", caption)


def _step(path: Path) -> int:
    found = re.search(r"step-(\d+)$", path.stem)
    return int(found[1]) if found else 0
