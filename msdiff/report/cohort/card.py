"""What the cards say of the patients, as values for card.md.j2."""

from typing import Any

from msdiff.report.phrases import listed
from msdiff.report.record import Record
from msdiff.report.run import SPLITS, patients_with_pairs


def card_values(record: Record) -> dict[str, Any]:
    """The study, its pairs, its patients by split, and the columns of its table."""
    run = record.run
    study, arms = run.setting("study"), run.ours("cohort")
    return {
        "study": study,
        "pairs": run.setting(f"cohort.{study}.pairs"),
        "patients_with_pairs": patients_with_pairs(run),
        "by_split": listed([f"{n} {SPLITS.get(split, split)}" for split, n in run.splits.items()]),
        "keys": ["cohort", "arm", "n"] if len(arms) and arms["cohort"].nunique() > 1 else ["arm", "n"],
        "metrics": [name for name in arms if f"{name}_lo" in arms],
    }
