"""MSSEG-2: 100 patients, two FLAIRs each on one grid halfway, new lesions drawn by four experts (MICCAI 2021).

`training/013/flair_time01_on_middle_space.nii.gz`, `flair_time02_on_middle_space.nii.gz`, `ground_truth.nii.gz` (the
consensus), `ground_truth_expert1.nii.gz` ... `4`. There are no dates and no masks of all lesions.
"""

import logging
from pathlib import Path

import pandas as pd

from msdiff.cohort.sources.folders import find_folders, find_image, regular_days
from msdiff.errors import BadInput

TIMES = (1, 2)
EXPERTS = (1, 2, 3, 4)

log = logging.getLogger(__name__)


def index_msseg2(root: Path, interval_days: int, rater: int | None = None) -> pd.DataFrame:
    """Scans of all patients, with the consensus of new lesions or one expert's; days by a nominal interval.

    `root` may be the data set (its training patients are listed), or the folder of the patients. A patient without both
    FLAIRs is left out. Raises BadInput where the rater is unknown, or no patient is found.
    """
    if rater is not None and rater not in EXPERTS:
        raise BadInput(f"--rater: expected 1 to 4, or none for the consensus, got {rater}")
    truth = "ground_truth" if rater is None else f"ground_truth_expert{rater}"
    rows = []
    for folder in find_folders([root / "training", root], "[0-9]*", "folders 013, 015, ... of MSSEG-2"):
        flairs = [find_image(folder, f"flair_time{time:02d}_on_middle_space") for time in TIMES]
        missing = [time for time, flair in zip(TIMES, flairs, strict=True) if not flair]
        if missing:
            log.info("leave out %s: no FLAIR of time %s", folder.name, " and ".join(map(str, missing)))
            continue
        days = regular_days(len(TIMES), interval_days, folder.name)
        for time, flair, elapsed in zip(TIMES, flairs, days, strict=True):
            row = {"subject": f"sub-{folder.name}", "session": f"ses-time{time:02d}", "days": elapsed, "flair": flair}
            row["change_mask"] = find_image(folder, truth) if time == TIMES[-1] else ""
            rows.append(row | {"arm": "", "split": ""})
    if not rows:
        raise BadInput(f"{root}: expected patients with both FLAIR images, got none; fetch the images first")
    return pd.DataFrame(rows)
