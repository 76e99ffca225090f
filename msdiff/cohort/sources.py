"""Where scans come from: each source lists the scans it knows in a sheet (msdiff.cohort.sheets).

A source is a function of a folder (and, for the phantom, its settings) that returns one row per scan; paths are under
that folder.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from msdiff.cohort.phantom_settings import PhantomSettings, roster, session_names
from msdiff.errors import BadInput

DAYS_PER_WEEK = 7

logger = logging.getLogger(__name__)


def index_phantom(root: str | Path, settings: PhantomSettings, contrasts: Sequence[str]) -> pd.DataFrame:
    """Scans of the embedded cohort as draw-phantom writes them into `root`/subject; they need not be drawn yet."""
    rows = []
    for subject, arm in roster(settings).items():
        folder = Path(root) / subject
        for week, session in zip(settings.weeks, session_names(settings), strict=True):
            row: dict[str, object] = {"subject": subject, "session": session, "days": week * DAYS_PER_WEEK}
            row |= {contrast: str(folder / f"{session}_{contrast}.nii.gz") for contrast in contrasts}
            for mask in ("lesion_mask", "change_mask", "enhancing_mask", "brain_mask"):
                there = mask != "change_mask" or week > settings.weeks[0]
                row[mask] = str(folder / f"{session}_{mask}.nii.gz") if there else ""
            rows.append(row | {"arm": arm, "split": ""})
    return pd.DataFrame(rows)


def index_open_ms(root: str | Path) -> pd.DataFrame:
    """Scans of the longitudinal open_ms data in its published folders (Lesjak et al., Neuroinformatics 2016).

    `root` may be the data set, its folder `longitudinal`, or the folder of the patients, with files named either
    `patientNN/studyN_FLAIR.nii.gz` or, as in the data set's own description,
    `patientNN/raw/patientNN_studyN_FLAIR.nii.gz`. Patients without both FLAIR images are left out. The change mask
    lies in a space between both studies; the second study's transform leads to it.

    Raises BadInput where no patient is found, or the days between the studies are not.
    """
    root = Path(root)
    candidates = [root / "longitudinal" / "raw", root / "raw", root / "longitudinal", root]
    folders = next((found for folder in candidates if (found := sorted(folder.glob("patient[0-9]*")))), [])
    folders = [folder for folder in folders if folder.is_dir()]
    if not folders:
        raise BadInput(f"{root}: expected folders patient01, patient02, ... of open_ms_data; found none")
    days = _days_between_studies(folders[0])
    rows = []
    for folder in folders:
        number = folder.name.removeprefix("patient")
        scans = [_open_ms_scan(folder, study) for study in (1, 2)]
        missing = [study for study, scan in enumerate(scans, start=1) if not scan["flair"]]
        if missing:
            logger.info("leave out %s: no FLAIR of study %s", folder.name, " and ".join(map(str, missing)))
            continue
        if not number.isdigit() or int(number) not in days:
            raise BadInput(f"{folder}: expected days_between_studies of patient {number} in patient_info.csv, got none")
        for study, scan in enumerate(scans, start=1):
            elapsed = days[int(number)] if study == 2 else 0
            rows.append({"subject": f"sub-{number}", "session": f"ses-study{study}", "days": elapsed, **scan})
    if not rows:
        raise BadInput(f"{root}: expected patients with FLAIR images of both studies, got none; fetch the images first")
    return pd.DataFrame(rows)


def _open_ms_scan(folder: Path, study: int) -> dict[str, str]:
    """Paths of one study, empty where there is none."""
    scan = {
        contrast: _first(folder, [f"study{study}_{name}.nii.gz", f"raw/{folder.name}_study{study}_{name}.nii.gz"])
        for contrast, name in (("flair", "FLAIR"), ("t1w", "T1W"), ("t2w", "T2W"))
    }
    scan |= dict.fromkeys(("lesion_mask", "change_mask", "change_mask_transform"), "")
    if study == 2:
        beside = f"../../coregistered/{folder.name}/gt.nii.gz"
        scan["change_mask"] = _first(folder, ["gt.nii.gz", f"{folder.name}_gt.nii.gz", beside])
        if scan["change_mask"]:
            name = f"study{study}_FLAIR_to_common_space.txt"
            scan["change_mask_transform"] = _first(folder, [name, f"{folder.name}_{name}"])
            if not scan["change_mask_transform"]:
                raise BadInput(f"{folder / name}: no such file; the change mask cannot be placed without it")
    return scan | {"arm": "", "split": ""}


def _first(folder: Path, names: Iterable[str]) -> str:
    return next((str(folder / name) for name in names if (folder / name).is_file()), "")


def _days_between_studies(patient: Path) -> dict[int, int]:
    """Days between the studies of each patient number."""
    places = [patient.parent / "patient_info.csv", patient.parent.parent / "patient_info.csv"]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise BadInput(f"{places[0]}: no such file; expected the data set's patient_info.csv there or one folder up")
    try:
        table = pd.read_csv(path)
        return dict(zip(table["patient_id"].astype(int), table["days_between_studies"].astype(int), strict=True))
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"{path}: expected columns patient_id and days_between_studies, cannot read them ({error})"
        ) from error
