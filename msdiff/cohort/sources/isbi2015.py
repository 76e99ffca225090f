"""The ISBI 2015 longitudinal challenge: 5 training patients, 21 scans, two raters (Carass et al., NeuroImage 2017).

`training/training01/preprocessed/training01_01_flair_pp.nii`, `training01/orig/training01_01_flair.nii.gz`,
`training01/masks/training01_01_mask1.nii`; the test patients (`testdata_website/test01/...`) have no masks. The masks
lie on the grid of the preprocessed images. There are no dates.
"""

import logging
import re
from pathlib import Path

import pandas as pd

from msdiff.cohort.sources.folders import find_folders, find_image, regular_days
from msdiff.errors import BadInput

CONTRASTS = {"flair": "flair", "t1w": "mprage", "t2w": "t2", "pdw": "pd"}
SUFFIXES = {"preprocessed": "_pp", "orig": ""}
RATERS = (1, 2)

log = logging.getLogger(__name__)


def index_isbi2015(
    root: Path, interval_days: int | None = None, rater: int = 1, variant: str = "preprocessed"
) -> pd.DataFrame:
    """Scans of the patients under `root`, with the masks of one rater; days by a nominal interval.

    `root` may be the data set (its training patients are listed), `training` or `testdata_website`. Original images
    have no masks on their grids. A time point without FLAIR is left out. Raises BadInput where an option is unknown, no
    patient is found, or the interval is missing.
    """
    if rater not in RATERS:
        raise BadInput(f"--rater: expected 1 or 2, got {rater}")
    if variant not in SUFFIXES:
        raise BadInput(f"--variant: expected one of {', '.join(SUFFIXES)}, got {variant!r}")
    folders = find_folders([root / "training", root], "t*[0-9][0-9]", "folders training01, training02, ...")
    if variant == "orig":
        log.info("no lesion masks: they are drawn on the preprocessed images")
    rows = []
    for folder in folders:
        scans = _scans(folder, rater, variant)
        days = regular_days(len(scans), interval_days, folder.name)
        for (point, scan), elapsed in zip(scans.items(), days, strict=True):
            row = {"subject": f"sub-{folder.name}", "session": f"ses-{point}", "days": elapsed, **scan}
            rows.append(row | {"arm": "", "split": ""})
    if not rows:
        raise BadInput(f"{root}: expected {variant} FLAIR images, got none; fetch the images first")
    return pd.DataFrame(rows)


def _scans(patient: Path, rater: int, variant: str) -> dict[str, dict[str, str]]:
    """Paths by time point (01, 02, ...), in order."""
    files = (path.name for place in (variant, "masks") for path in (patient / place).glob(f"{patient.name}_*"))
    points = {found[1] for name in files if (found := re.match(rf"{patient.name}_(\d+)_", name))}
    scans = {}
    for point in sorted(points):
        stem = f"{patient.name}_{point}"
        scan = {
            contrast: find_image(patient / variant, f"{stem}_{name}{SUFFIXES[variant]}")
            for contrast, name in CONTRASTS.items()
        }
        if not scan["flair"]:
            log.info("leave out %s: no FLAIR", stem)
            continue
        there = variant == "preprocessed"
        scans[point] = scan | {"lesion_mask": find_image(patient / "masks", f"{stem}_mask{rater}") if there else ""}
    return scans
