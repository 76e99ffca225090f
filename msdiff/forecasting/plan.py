"""Which patients are forecast for a purpose, and under which arms."""

from collections import Counter

import numpy as np
import pandas as pd

from msdiff.errors import BadInput
from msdiff.forecasting.options import DrawSettings
from msdiff.forecasting.slabs import Slabs

COLUMNS = ["row", "subject", "arm", "own_arm", "split"]


def plan_forecasts(slabs: Slabs, draws: DrawSettings, seed: int) -> pd.DataFrame:
    """One row per patient and arm, in the patients' order and then the arms'; columns COLUMNS.

    Parameters
    ----------
    slabs
        Their patients and arms.
    draws
        Which split, whether under all arms, and how many patients, as `choose` takes them.
    seed
        Of the choice.

    Raises BadInput where the split holds no patient.
    """
    candidates = slabs.patients[slabs.patients["split"] == draws.split]
    if candidates.empty:
        found = ", ".join(f"{n} of {split}" for split, n in slabs.patients["split"].value_counts().items()) or "none"
        raise BadInput(
            f"{slabs.folder}: expected patients of the split {draws.split} to forecast, got {found}; change "
            "the cohort's split, or that of forecasting.draws"
        )
    if draws.patients is not None:
        candidates = candidates[candidates["subject"].isin(choose(candidates, draws.patients, seed))]
    rows = [
        {"subject": patient.subject, "arm": arm, "own_arm": patient.arm, "split": patient.split}
        for patient in candidates.itertuples()
        for arm in (slabs.arms if draws.arms == "all" else [patient.arm])
    ]
    return pd.DataFrame(rows).assign(row=range(len(rows)))[COLUMNS]


def choose(candidates: pd.DataFrame, number: int, seed: int) -> list[str]:
    """So many subjects, active (count above 0) and inactive in turn, spread over the arms; all, if there are fewer.

    Whoever comes next is of the arm that was chosen least so far; else chance decides, by the seed. A larger number
    adds patients to those of a smaller one.
    """
    rng = np.random.default_rng(seed)
    shuffled = candidates.sort_values("subject").iloc[rng.permutation(len(candidates))]
    rows = list(zip(shuffled["subject"], shuffled["arm"], shuffled["count"] > 0, strict=True))
    chosen: list[str] = []
    of_arm: Counter[str] = Counter()
    while rows and len(chosen) < number:
        active = len(chosen) % 2 == 0
        # Where one kind is used up, the other goes on.
        subject, arm, _ = row = min(rows, key=lambda row: (row[2] != active, of_arm[row[1]]))
        rows.remove(row)
        chosen.append(subject)
        of_arm[arm] += 1
    return chosen
