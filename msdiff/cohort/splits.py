"""Patients by set: train, validation, test; stratified by arm and follow-up, by patient, from a seed."""

from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import linprog

from msdiff.cohort.sheets import SPLITS
from msdiff.errors import BadSettings
from msdiff.settings import Settings

Amount = Annotated[float, Field(ge=0)]


class SplitSettings(Settings):
    """Patients by set: whole numbers that sum to the cohort, or fractions that sum to 1."""

    train: Amount
    validation: Amount
    test: Amount
    seed: Annotated[int, Field(ge=0)]


def assign_splits(patients: pd.DataFrame, settings: SplitSettings) -> pd.Series:
    """Split of each patient, for `patients` with columns subject, arm, followed and split.

    `followed` tells whether the patient has a follow-up; `split` is empty where it is to be assigned. Splits that are
    given stay, and count. Every set has its size, and of every arm its share of the patients rounded up or down: the
    table of arms by sets is the share of each cell, rounded so that all sums are kept (controlled rounding; Bacharach,
    Management Science 12, 1966). Within an arm, patients with and without follow-up are spread in the same way. Where
    there are two patients or more, train and test get at least one each when they ask for any.

    Raises BadSettings where whole numbers do not sum to the number of patients.
    """
    rng = np.random.default_rng(settings.seed)
    ordered = patients.sort_values("subject").reset_index(drop=True)
    targets = _targets(len(ordered), settings)
    given = ordered["split"]
    open_patients = ordered[given == ""].copy()
    open_patients["tie"] = rng.random(len(open_patients))
    wanted = _remaining(targets, {name: int((given == name).sum()) for name in SPLITS}, len(open_patients))
    assigned: dict[str, str] = {}
    if len(open_patients):
        shares = np.array([_share(settings, targets, name) for name in SPLITS])
        arms = open_patients.groupby("arm").size()
        of_arm = ordered.groupby("arm").size().loc[arms.index]
        there = pd.crosstab(ordered["arm"], given).reindex(index=arms.index, columns=SPLITS, fill_value=0)
        exact = np.outer(of_arm, shares) - there.to_numpy()
        by_arm = rounded(exact, arms.to_numpy(), np.array([wanted[name] for name in SPLITS]), rng)
        for (_, members), sizes in zip(open_patients.groupby("arm"), by_arm, strict=True):
            strata = [stratum.sort_values("tie")["subject"] for _, stratum in members.groupby("followed")]
            rows = np.array([len(stratum) for stratum in strata])
            for stratum, row in zip(strata, rounded(np.outer(rows, sizes) / rows.sum(), rows, sizes, rng), strict=True):
                assigned |= dict(zip(stratum, np.repeat(SPLITS, row).tolist(), strict=True))
    kept = dict(zip(ordered["subject"], given, strict=True))
    return patients["subject"].map(kept | assigned)


def rounded(
    exact: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Whole numbers (row, column) from 0, nearest to a table, whose rows and columns sum to given whole numbers.

    Every number is that of the table rounded up or down, where the sums leave room for that; else some lie further off,
    as few as may be. Where several tables are as near, `rng` chooses.
    """
    noise = rng.uniform(0, 1e-6, exact.shape)
    # A share such as 0.1 of 30 patients is 3.0000000000000004; where splits are given, a share may lie beyond its row.
    exact = np.clip(np.round(exact, 9), 0, rows[:, None])
    sums = np.concatenate([np.kron(np.eye(len(rows)), np.ones(len(columns))), np.tile(np.eye(len(columns)), len(rows))])
    for slack in range(int(rows.sum()) + 1):
        low = np.maximum(np.floor(exact) - slack, 0)
        steps = np.ceil(exact) + slack - low
        # A variable for every step of a cell: its cost, by which the squared distance grows, rises from step to step.
        step = np.arange(max(int(steps.max()), 1))[:, None, None]
        found = linprog(
            (2 * (low + step - exact) + 1 + noise).ravel(),
            A_eq=np.tile(sums, len(step)),
            b_eq=np.concatenate([rows, columns]) - sums @ low.ravel(),
            bounds=[(0, float(there)) for there in (step < steps).ravel()],
        )
        if found.status == 0:
            return np.asarray(low + np.rint(found.x).reshape(-1, *exact.shape).sum(axis=0), dtype=np.int64)
    raise ValueError(f"expected rows and columns of one sum, got {rows.sum()} and {columns.sum()}")


def _share(settings: SplitSettings, targets: dict[str, int], name: str) -> float:
    """The share of a set: as asked for, or of its whole number."""
    asked = [float(getattr(settings, each)) for each in SPLITS]
    whole = abs(sum(asked) - 1) > 1e-6
    return targets[name] / sum(targets.values()) if whole else float(getattr(settings, name)) / sum(asked)


def _targets(total: int, settings: SplitSettings) -> dict[str, int]:
    asked = {name: float(getattr(settings, name)) for name in SPLITS}
    if abs(sum(asked.values()) - 1) > 1e-6:
        if not all(amount.is_integer() for amount in asked.values()) or sum(asked.values()) != total:
            described = ", ".join(f"{name} {amount:g}" for name, amount in asked.items())
            raise BadSettings(
                f"split: expected whole numbers that sum to the {total} patients, or fractions that sum to 1; "
                f"got {described}"
            )
        return {name: int(amount) for name, amount in asked.items()}
    targets = _apportion(asked, total)
    for name in ("test", "train"):
        if total >= 2 and asked[name] > 0 and targets[name] == 0:
            donor = max(targets, key=lambda other: targets[other] - asked[other] * total)
            targets[donor] -= 1
            targets[name] = 1
    return targets


def _apportion(shares: dict[str, float], total: int) -> dict[str, int]:
    """Whole numbers that sum to the total, by largest remainder; ties go to train, then test."""
    exact = {name: share * total / sum(shares.values()) for name, share in shares.items()}
    counts = {name: int(amount + 1e-9) for name, amount in exact.items()}
    order = sorted(("train", "test", "validation"), key=lambda name: counts[name] - round(exact[name], 9))
    for name in order[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def _remaining(targets: dict[str, int], given: dict[str, int], open_patients: int) -> dict[str, int]:
    """What the open patients fill up: the targets less what is given, or shares of it where that overshoots."""
    missing = {name: max(targets[name] - given[name], 0) for name in SPLITS}
    if sum(missing.values()) in (0, open_patients):
        return missing
    return _apportion({name: float(amount) for name, amount in missing.items()}, open_patients)
