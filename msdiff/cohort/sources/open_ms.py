"""The longitudinal part of open_ms_data: 20 patients, two studies each (Lesjak et al., Neuroinformatics 2016).

Two folder layouts are known: that of the repository (`longitudinal/raw/patient01/study1_FLAIR.nii.gz`,
`longitudinal/coregistered/patient01/...`) and that of the data set's own description
(`patient1/patient1_study1_FLAIRreg.nii.gz`, `patient1/raw/patient1_study1_FLAIR.nii.gz`).
"""

import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from msdiff.cohort.sources.folders import find_folders, find_image
from msdiff.errors import BadInput

CONTRASTS = {"flair": "FLAIR", "t1w": "T1W", "t2w": "T2W"}
STUDIES = (1, 2)
# Both trees hold files of the same names, on other grids.
SOURCE_OF_TREE = {"raw": "open_ms", "coregistered": "open_ms_coregistered"}

log = logging.getLogger(__name__)


def index_open_ms(root: Path) -> pd.DataFrame:
    """Raw scans, each in its own space.

    `root` may be the data set, its folder `longitudinal`, or the folder of the patients. Patients without both FLAIR
    images are left out. The change mask lies in a space between both studies; the second study's transform leads to it.

    Raises BadInput where no patient is found, or the days between the studies are not.
    """
    return _index(root, "raw", _raw_scan)


def index_open_ms_coregistered(root: Path) -> pd.DataFrame:
    """Scans on the patient's common grid, bias-corrected, with the brain mask and the change mask of that grid.

    `root` and what is left out are those of `index_open_ms`. Raises BadInput where no patient is found, or the days
    between the studies are not.
    """
    return _index(root, "coregistered", _coregistered_scan)


def _index(root: Path, tree: str, scan_of: Callable[[Path, int], dict[str, str]]) -> pd.DataFrame:
    places = [root / "longitudinal" / tree, root / tree, root / "longitudinal", root]
    folders = find_folders(places, "patient[0-9]*", "folders patient01, patient02, ... of open_ms_data")
    found = folders[0].parent.name
    if SOURCE_OF_TREE.get(found, SOURCE_OF_TREE[tree]) != SOURCE_OF_TREE[tree]:
        raise BadInput(f"{folders[0].parent}: expected {tree} scans; take --source {SOURCE_OF_TREE[found]}")
    days = _days_between_studies(folders[0])
    rows = []
    for folder in folders:
        number = folder.name.removeprefix("patient")
        scans = [scan_of(folder, study) for study in STUDIES]
        missing = [study for study, scan in zip(STUDIES, scans, strict=True) if not scan["flair"]]
        if missing:
            log.info("leave out %s: no FLAIR of study %s", folder.name, " and ".join(map(str, missing)))
            continue
        if not number.isdigit() or int(number) not in days:
            raise BadInput(f"{folder}: expected days_between_studies of patient {number} in patient_info.csv, got none")
        for study, scan in zip(STUDIES, scans, strict=True):
            elapsed = days[int(number)] if study == 2 else 0
            row = {"subject": f"sub-{number}", "session": f"ses-study{study}", "days": elapsed, **scan}
            rows.append(row | {"arm": "", "split": ""})
    if not rows:
        raise BadInput(f"{root}: expected patients with FLAIR images of both studies, got none; fetch the images first")
    return pd.DataFrame(rows)


def _raw_scan(folder: Path, study: int) -> dict[str, str]:
    """Paths of one study, empty where there is none."""
    scan = {
        contrast: find_image(folder, f"study{study}_{name}", f"raw/{folder.name}_study{study}_{name}")
        for contrast, name in CONTRASTS.items()
    }
    scan |= dict.fromkeys(("lesion_mask", "change_mask", "change_mask_transform"), "")
    if study == 2:
        beside = f"../../coregistered/{folder.name}/gt"
        scan["change_mask"] = find_image(folder, "gt", f"{folder.name}_gt", beside)
        if scan["change_mask"]:
            name = f"study{study}_FLAIR_to_common_space.txt"
            transforms = [folder / name, folder / f"{folder.name}_{name}"]
            scan["change_mask_transform"] = next((str(path) for path in transforms if path.is_file()), "")
            if not scan["change_mask_transform"]:
                raise BadInput(f"{transforms[0]}: no such file; the change mask cannot be placed without it")
    return scan


def _coregistered_scan(folder: Path, study: int) -> dict[str, str]:
    """Paths of one study on the common grid, empty where there is none."""
    scan = {
        contrast: find_image(folder, f"study{study}_{name}", f"{folder.name}_study{study}_{name}reg")
        for contrast, name in CONTRASTS.items()
    }
    scan["lesion_mask"] = ""
    scan["change_mask"] = find_image(folder, "gt", f"{folder.name}_gt") if study == 2 else ""
    return scan | {"brain_mask": find_image(folder, "brainmask", f"{folder.name}_brainmask")}


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
