"""MSLesSeg: 75 patients, 115 scans, a lesion mask each (Guarnera, Rondinella et al., Scientific Data 12:920, 2025).

Training patients have one to four time points in `train/P14/T1/P14_T1_FLAIR.nii.gz`, test patients one in
`test/P54/P54_FLAIR.nii.gz`; all are in MNI space at 1 mm, skull-stripped. There are no dates;
`info_dataset/clinical_data.csv` tells the age at each time point, in years with two decimals.
"""

import logging
from pathlib import Path

import pandas as pd

from msdiff.cohort.sources.folders import find_folders, find_image, regular_days
from msdiff.errors import BadInput

CONTRASTS = {"flair": "FLAIR", "t1w": "T1", "t2w": "T2"}
CLINICAL = "info_dataset/clinical_data.csv"
DAYS_PER_YEAR = 365.25

log = logging.getLogger(__name__)


def index_mslesseg(root: Path, interval_days: int | None = None) -> pd.DataFrame:
    """Scans of all patients; days by `interval_days` from time point to time point, else by the ages.

    `root` may be the data set, its folder `train` or `test`. A time point without FLAIR is left out. Raises BadInput
    where no patient is found, or nothing tells the days of a patient with several time points.
    """
    places = [place for place in (root / "train", root / "test") if place.is_dir()] or [root]
    folders = [folder for place in places for folder in find_folders([place], "P[0-9]*", "folders P1, P2, ...")]
    ages = {} if interval_days is not None else _ages([root / CLINICAL, root.parent / CLINICAL])
    rows = []
    for folder in folders:
        scans = _scans(folder)
        names = list(scans)
        if all((folder.name, name) in ages for name in names):
            years = [ages[folder.name, name] for name in names]
            days = [round((age - years[0]) * DAYS_PER_YEAR) for age in years]
        else:
            days = regular_days(len(scans), interval_days, folder.name)
        for name, elapsed in zip(names, days, strict=True):
            row = {"subject": f"sub-{folder.name}", "session": f"ses-{name}", "days": elapsed, **scans[name]}
            rows.append(row | {"arm": "", "split": ""})
    if not rows:
        raise BadInput(f"{root}: expected time points with a FLAIR image, got none; fetch the images first")
    return pd.DataFrame(rows)


def _scans(patient: Path) -> dict[str, dict[str, str]]:
    """Paths by time point (T1, T2, ...), in order; a test patient's only scan is T1."""
    points = {folder.name: folder for folder in sorted(patient.glob("T[0-9]*")) if folder.is_dir()}
    scans = {}
    for point, folder in (points or {"T1": patient}).items():
        stem = f"{patient.name}_{point}" if points else patient.name
        scan = {contrast: find_image(folder, f"{stem}_{name}") for contrast, name in CONTRASTS.items()}
        if scan["flair"]:
            scans[point] = scan | {"lesion_mask": find_image(folder, f"{stem}_MASK")}
        else:
            log.info("leave out %s: no FLAIR", stem)
    return scans


def _ages(places: list[Path]) -> dict[tuple[str, str], float]:
    """Age in years by patient and time point, where the clinical table is there."""
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return {}
    try:
        table = pd.read_csv(path, sep=";", decimal=",", encoding="utf-8-sig")
        table.columns = table.columns.str.strip()
        table = table.dropna(subset=["Patient", "Timepoint", "Age"])
        keys = zip(table["Patient"].str.strip(), table["Timepoint"].str.strip(), strict=True)
        return dict(zip(keys, table["Age"].astype(float), strict=True))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise BadInput(
            f"{path}: expected columns Patient, Timepoint and Age between semicolons, cannot read them ({error}); "
            "give --interval-days instead"
        ) from error
