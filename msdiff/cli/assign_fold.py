"""Assign the patients of a cohort to train, validation and test, for one fold."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--sheet", required=True, type=Path, help="scan sheet, with the sets that it gives (TSV)")
    parser.add_argument("--contrasts", required=True, nargs="+", help="contrasts of the run")
    parser.add_argument("--fold", required=True, help="name of the fold: `split`, a number, or a name of the list")
    parser.add_argument("--out", required=True, type=Path, help="set by patient to write (TSV)")
    parser.add_argument(
        "--settings", required=True, help='JSON: {"backend": "split, leave_one_out, k_fold or list", "options": {...}}'
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the fold."""
    from msdiff.cohort.folds import make_fold
    from msdiff.cohort.sheets import SPLITS, read_sheet, write_table
    from msdiff.settings import Choice, read

    scans = read_sheet(arguments.sheet, arguments.contrasts, check_files=False)
    fold = make_fold(scans, read(Choice, arguments.settings, "folds"), arguments.fold)
    sessions = scans["subject"].value_counts()
    followed = fold[fold["subject"].map(sessions) > 1]
    counts = {name: int((fold["split"] == name).sum()) for name in SPLITS}
    for name, purpose in {"train": "train", "test": "test"}.items():
        if len(followed) and not (followed["split"] == name).any():
            log.warning(
                "no patient with a follow-up to %s on; fill the column split, or change the split's shares or seed",
                purpose,
            )
    write_table(fold, arguments.out)
    described = ", ".join(f"{name} {count}" for name, count in counts.items())
    log.info("wrote %s: %d patients; %s", arguments.out, len(fold), described)
