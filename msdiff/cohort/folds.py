"""Folds: which patients train, validate and test, once or several times.

    split            one fold named `split`: the cohort's own split, with the sets that the sheet gives
    leave_one_out    as many folds as patients, each tests one
    k_fold           patients in groups, by arm and at random; each fold tests one group
    list             folds of a table (TSV) with the columns fold, subject, split

Leave-one-out and k-fold number their folds from 1 and rotate: fold 1 tests the last patient (or group) and validates on
the one before it, fold 2 tests the last but one, and so on; all others train. For five patients these are the folds of
MSSegDiff (Rondinella et al. 2026): 123/4/5, 125/3/4, 145/2/3, 345/1/2 and 234/5/1. Every patient is tested once.

A fold is a list of its own beside the stack, so a changed fold reruns no imaging.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from msdiff.backends import load
from msdiff.cohort.sheets import SPLITS
from msdiff.cohort.splits import SplitSettings, assign_splits
from msdiff.errors import BadInput, BadSettings
from msdiff.lists import read_list
from msdiff.settings import Choice, Settings, check

BACKENDS = {
    "split": "msdiff.cohort.folds:own_split",
    "leave_one_out": "msdiff.cohort.folds:leave_one_out",
    "k_fold": "msdiff.cohort.folds:k_fold",
    "list": "msdiff.cohort.folds:listed",
}
COLUMNS = ("subject", "split")

# Split by patient.
Fold = dict[str, str]


class LeaveOneOutSettings(Settings):
    """Leave-one-out has no options."""


class KFoldSettings(Settings):
    """Number of groups of patients, one of them for validation and one for the test; seed of who is in which."""

    folds: Annotated[int, Field(ge=3)]
    seed: Annotated[int, Field(ge=0)]


class ListSettings(Settings):
    """Path of a table (TSV) with the columns fold, subject and split."""

    path: str


def make_fold(scans: pd.DataFrame, choice: Choice, name: str) -> pd.DataFrame:
    """The fold of a name: one row per patient of a checked sheet, with COLUMNS, sorted by subject.

    Raises BadSettings where there is no fold of that name, and what the backends raise.
    """
    patients = scans.groupby("subject", as_index=False).first()
    patients["followed"] = scans.groupby("subject").size().to_numpy() > 1
    folds: dict[str, Fold] = load(BACKENDS, choice.backend)(patients, choice.options)
    if name not in folds:
        raise BadSettings(f"folds: expected one of {', '.join(folds)}, got {name!r}; ask for one of these")
    return pd.DataFrame(sorted(folds[name].items()), columns=list(COLUMNS))


def own_split(patients: pd.DataFrame, options: dict[str, Any]) -> dict[str, Fold]:
    """The cohort's own split; see `assign_splits`."""
    splits = assign_splits(patients, check(SplitSettings, options, "split"))
    return {"split": dict(zip(patients["subject"], splits, strict=True))}


def leave_one_out(patients: pd.DataFrame, options: dict[str, Any]) -> dict[str, Fold]:
    """A fold for every patient; BadInput for fewer than three patients."""
    check(LeaveOneOutSettings, options, "folds.leave_one_out")
    subjects = sorted(patients["subject"])
    if len(subjects) < 3:
        raise BadInput(
            f"folds.leave_one_out: expected three patients or more, to train, validate and test, got {len(subjects)}; "
            "add patients, or set folds to null"
        )
    return rotated([[subject] for subject in subjects])


def k_fold(patients: pd.DataFrame, options: dict[str, Any]) -> dict[str, Fold]:
    """As many folds as asked for, each arm spread over all; BadSettings for more folds than patients."""
    settings = check(KFoldSettings, options, "folds.k_fold")
    if settings.folds > len(patients):
        raise BadSettings(
            f"folds.k_fold: expected at most as many folds as patients ({len(patients)}), got {settings.folds}; lower "
            "folds"
        )
    shuffled = patients.sort_values("subject")
    shuffled = shuffled.iloc[np.random.default_rng(settings.seed).permutation(len(shuffled))]
    ordered = shuffled.sort_values("arm", kind="stable")["subject"].tolist()
    return rotated([ordered[start :: settings.folds] for start in range(settings.folds)])


def listed(patients: pd.DataFrame, options: dict[str, Any]) -> dict[str, Fold]:
    """The folds of a list; BadInput where one lacks a patient, has one twice, an unknown one or an unknown set."""
    path = check(ListSettings, options, "folds.list").path
    table = read_list(path, ["fold", *COLUMNS]).astype({"fold": str, "subject": str})
    subjects = set(patients["subject"])
    folds: dict[str, Fold] = {}
    for name, rows in table.groupby("fold", sort=False):
        fold = f"{path}: fold {name}"
        strange = rows[~rows["split"].isin(SPLITS)]
        if len(strange):
            row = strange.iloc[0]
            raise BadInput(f"{fold}: {row['subject']}: expected {', '.join(SPLITS)}, got {row['split']!r}; correct it")
        twice = rows.loc[rows["subject"].duplicated(), "subject"]
        if len(twice):
            raise BadInput(f"{fold}: patient {twice.iloc[0]} is listed twice; remove one of the rows")
        unknown = rows.loc[~rows["subject"].isin(subjects), "subject"]
        if len(unknown):
            raise BadInput(f"{fold}: patient {unknown.iloc[0]} is not in the scan sheet; remove the row")
        missing = sorted(subjects - set(rows["subject"]))
        if missing:
            raise BadInput(f"{fold}: expected a row for every patient, got none for {missing[0]}; add it")
        folds[str(name)] = dict(zip(rows["subject"], rows["split"], strict=True))
    return folds


def rotated(groups: Sequence[Sequence[str]]) -> dict[str, Fold]:
    """A fold for each group of patients, the last group first; see the head of this module."""
    folds = {}
    for number in range(len(groups)):
        test = len(groups) - 1 - number
        sets = dict.fromkeys(range(len(groups)), "train") | {(test - 1) % len(groups): "validation", test: "test"}
        folds[str(number + 1)] = {subject: sets[place] for place, group in enumerate(groups) for subject in group}
    return folds
