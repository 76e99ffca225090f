"""Generated against real follow-ups of held-out patients: one row per sample, a slice or a volume, image and region.

The images that are compared with the real follow-up are the generator's, and what any generator must beat or cannot
beat (column `generator`):

    copy_baseline       the baseline as it is
    blurred_baseline    the baseline behind a Gaussian filter: little noise, no new lesion
    paste_lesion        the baseline with the change mask painted in one intensity, up to a hard edge: the mean of the
                        new lesions of the training patients' follow-ups (`lesion_intensity`)
    noise_floor         real baseline against real follow-up outside the change: two acquisitions of the same tissue
    real_follow_up      the real one, which has no error: the change and the adherence that a generator should reach

Regions: brain, lesion (the change mask), ring (around it) and outside (brain less lesion and ring). `change_mae` is an
image's difference to the baseline: outside, what a generator changes unasked, to be read beside the real follow-up's.
Lesion contrasts (lesion less ring) and adherence, the Dice of a detector's finding and the asked change mask, stand
with a sample's lesion. The contrasts are not divided here: in a slice that only grazes a lesion the real one is near
zero. The detector must not be the one whose loss trained the generator.
"""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import PositiveFloat
from scipy.ndimage import gaussian_filter
from torch import nn

from msdiff.errors import BadInput
from msdiff.metrics import image as likeness
from msdiff.metrics.voxel import confusion, dice
from msdiff.sampling.shards import Shard
from msdiff.settings import Settings
from msdiff.stack.intensities import lesion_intensity
from msdiff.stack.reading import Stack

log = logging.getLogger(__name__)

# Against the real follow-up.
ERRORS = ["mse", "mae", "psnr", "ms_ssim"]
METRICS = [*ERRORS, "change_mae", "lesion_contrast", "real_lesion_contrast", "adherence_dice"]
COLUMNS = ["subject", "sample", "generator", "region", *METRICS]


class ScoringSettings(Settings):
    """Section `synthesis.scoring`.

    ring_width_mm           of the surround that a lesion's contrast is measured against
    blur_sigma_mm           of blurred_baseline
    detection_threshold     on the detector's probability
    """

    ring_width_mm: PositiveFloat
    blur_sigma_mm: PositiveFloat
    detection_threshold: PositiveFloat


def score_images(
    stack: Stack, shards: Sequence[Shard], contrast: str, detector: nn.Module, settings: ScoringSettings
) -> pd.DataFrame:
    """Rows (COLUMNS) of all samples of the shards, in the contrast of generator and detector.

    Raises BadInput where a sample has no real follow-up or is not of the stack, or where no training patient has a new
    lesion.
    """
    intensity = lesion_intensity(stack, contrast)
    rows: list[dict[str, object]] = []
    for shard in shards:
        if (shard.manifest["follow_up_row"] < 0).any():
            raise BadInput("shards: expected samples with a real follow-up, of purpose held_out, got one without")
        shape, volume = shard.shape("follow_up"), stack.grid.shape[::-1]
        if shape not in (volume, volume[1:]):
            raise BadInput(
                f"shards: expected slices of the stack's size {volume[1:]}, or volumes of {volume}, got {shape}"
            )
        spacing_mm = stack.grid.spacing_mm[::-1][-len(shape) :]
        for place, row in enumerate(shard.manifest.to_dict("records")):
            generated, mask = shard.read("follow_up", place), shard.read("change_mask", place)
            baseline = stack.read(contrast, row["baseline_row"], row["slice"]).astype(np.float32)
            real = stack.read(contrast, row["follow_up_row"], row["slice"]).astype(np.float32)
            brain = stack.read("brain_mask", row["baseline_row"], row["slice"]) > 0
            blurred = gaussian_filter(baseline, settings.blur_sigma_mm / spacing_mm)
            candidates = {
                row["generator"]: generated,
                "copy_baseline": baseline,
                "blurred_baseline": np.where(brain, blurred, baseline),
                "paste_lesion": np.where(mask & brain, intensity, baseline),
                "noise_floor": baseline,
                "real_follow_up": real,
            }
            regions = likeness.regions(brain, mask, settings.ring_width_mm, spacing_mm.tolist())
            regions["outside"] &= ~regions["ring"]
            named = {"subject": row["baseline_subject"], "sample": row["sample"]}
            for generator, image in candidates.items():
                for region in _REGIONS.get(generator, tuple(regions)):
                    values = dict.fromkeys(METRICS, np.nan)
                    if generator != "real_follow_up":
                        values |= {name: getattr(likeness, name)(image, real, regions[region]) for name in ERRORS}
                    if generator != "noise_floor":
                        values["change_mae"] = likeness.mae(image, baseline, regions[region])
                    if region == "lesion":
                        found = _detected(detector, baseline, image, settings.detection_threshold) & brain
                        lesion = (regions["lesion"], regions["ring"])
                        values["lesion_contrast"] = likeness.lesion_contrast(image, *lesion)
                        values["real_lesion_contrast"] = likeness.lesion_contrast(real, *lesion)
                        values["adherence_dice"] = dice(confusion(found, regions["lesion"], brain), empty=np.nan)
                    rows.append(named | {"generator": generator, "region": region} | values)
    if not rows:
        raise BadInput("shards: expected at least one sample, got none; sample held-out patients first")
    log.info("scored %d samples", len({row["sample"] for row in rows}))
    return pd.DataFrame(rows, columns=COLUMNS)


_REGIONS = {"noise_floor": ("outside",)}


def _detected(
    detector: nn.Module, baseline: NDArray[np.float32], follow_up: NDArray[np.float32], threshold: float
) -> NDArray[np.bool_]:
    """The detector's finding (y, x), or (z, y, x) slice by slice."""
    found = np.empty(baseline.shape, dtype=np.bool_)
    with torch.no_grad():
        # The views of a volume's slices, or of the one slice.
        views = (image.reshape(-1, *baseline.shape[-2:]) for image in (baseline, follow_up, found))
        for one, other, marked in zip(*views, strict=True):
            pair = (torch.from_numpy(np.ascontiguousarray(image))[None, None].float() for image in (one, other))
            marked[...] = torch.sigmoid(detector(*pair))[0, 0].numpy() > threshold
    return found
