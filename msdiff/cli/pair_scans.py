"""Check a scan sheet, assign patients to train, validation and test, and pair baselines with follow-ups."""

import argparse
import logging
from pathlib import Path

from msdiff.errors import BadInput

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--sheet", required=True, type=Path, help="scan sheet (TSV)")
    parser.add_argument("--contrasts", required=True, nargs="+", help="contrasts of the run; the first must be there")
    parser.add_argument("--scans", required=True, type=Path, help="checked sheet to write, with splits (TSV)")
    parser.add_argument("--pairs", required=True, type=Path, help="list of pairs to write (TSV)")
    parser.add_argument("--settings", required=True, help='JSON: {"split": {...}, "pairs": {...}}')


def run(arguments: argparse.Namespace) -> None:
    """Write the checked sheet and the pairs."""
    from msdiff.cohort.pairs import PairSettings, pair_scans
    from msdiff.cohort.sheets import SPLITS, read_sheet, write_sheet, write_table
    from msdiff.cohort.splits import SplitSettings, assign_splits
    from msdiff.settings import Settings, read

    class Both(Settings):
        split: SplitSettings
        pairs: PairSettings

    settings = read(Both, arguments.settings)
    scans = read_sheet(arguments.sheet, arguments.contrasts)
    patients = scans.groupby("subject", as_index=False).first()
    patients["followed"] = scans.groupby("subject").size().to_numpy() > 1
    splits = dict(zip(patients["subject"], assign_splits(patients, settings.split), strict=True))
    scans["split"] = scans["subject"].map(splits)
    pairs = pair_scans(scans, settings.pairs)
    counts = {name: int((pairs["split"] == name).sum()) for name in SPLITS}
    if counts["train"] == 0:
        raise BadInput(
            f"{arguments.sheet}: expected a pair to train on, got none of {len(pairs)}; fill the column split, or "
            "change the split's shares or seed"
        )
    if counts["test"] == 0:
        log.warning("no pair to test on; fill the column split, or change the split's shares or seed")
    write_sheet(scans, arguments.scans)
    write_table(pairs, arguments.pairs)
    log.info(
        "wrote %s and %s: %d scans of %d patients; pairs: %s",
        arguments.scans,
        arguments.pairs,
        len(scans),
        len(patients),
        ", ".join(f"{name} {count}" for name, count in counts.items()),
    )
