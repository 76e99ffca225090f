"""The embedded cohort."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from msdiff.phantom.settings import PhantomSettings, roster, session_names

DAYS_PER_WEEK = 7


def index_phantom(
    root: Path,
    settings: PhantomSettings,
    contrasts: Sequence[str] | None = None,
    patients_per_folder: int | None = None,
) -> pd.DataFrame:
    """Scans of the embedded cohort as simulate-phantom writes them into `root`/subject; they need not be there yet.

    With a number of patients per folder, `root`/batch/subject, batches being 000, 001 and so on; in template space as
    simulate-aligned writes them, `root`/batch/registered/subject: these have one brain mask per patient, which is none
    of the scan's. All contrasts that the phantom's scanner has are listed where none are named.
    """
    aligned = settings.space == "template"
    rows = []
    for number, (subject, arm) in enumerate(roster(settings).items()):
        batch = "" if patients_per_folder is None else f"{number // patients_per_folder:03d}"
        folder = root / batch / ("registered" if aligned and batch else "") / subject
        for week, session in zip(settings.weeks, session_names(settings), strict=True):
            row: dict[str, object] = {"subject": subject, "session": session, "days": week * DAYS_PER_WEEK}
            for contrast in contrasts or list(settings.scanner.tissues):
                row[contrast] = str(folder / f"{session}_{contrast}.nii.gz")
            for mask in ("lesion_mask", "change_mask", "enhancing_mask", "brain_mask"):
                there = (
                    week > settings.weeks[0]
                    if mask == "change_mask"
                    else mask != "brain_mask" or not (aligned and batch)
                )
                row[mask] = str(folder / f"{session}_{mask}.nii.gz") if there else ""
            rows.append(row | {"arm": arm, "split": ""})
    return pd.DataFrame(rows)
