"""Patients by set: train, validation, test; stratified by arm and follow-up, by patient, from a seed."""

from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from msdiff.cohort.sheets import SPLITS
from msdiff.errors import BadSettings
from msdiff.settings import Settings

STRATA = ["arm", "followed"]

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
    given stay, and count. Patients are shuffled within their stratum (arm, followed) and spread evenly along one line
    by their place in it; the line is then cut, so that every set holds its share of each stratum to within about a
    patient. Where there are two patients or more, train and test get at least one each when they ask for any.

    Raises BadSettings where whole numbers do not sum to the number of patients.
    """
    rng = np.random.default_rng(settings.seed)
    ordered = patients.sort_values("subject").reset_index(drop=True)
    targets = _targets(len(ordered), settings)
    given = ordered["split"]
    open_patients = ordered[given == ""].copy()
    open_patients["tie"] = rng.random(len(open_patients))
    place = open_patients.groupby(STRATA)["tie"].rank(method="first")
    size = open_patients.groupby(STRATA)["tie"].transform("size")
    open_patients["place"] = (place - 0.5) / size
    line = open_patients.sort_values(["place", "tie"])
    wanted = _remaining(targets, {name: int((given == name).sum()) for name in SPLITS}, len(line))
    names = [name for name in SPLITS for _ in range(wanted[name])]
    assigned = dict(zip(line["subject"], names, strict=True))
    kept = dict(zip(ordered["subject"], given, strict=True))
    return patients["subject"].map(kept | assigned)


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
