"""The same patients under every treatment: predicted lesions and activity, and what they differ from placebo.

The model knows a patient only before any treatment, and starts from the same noise under every arm, so that a patient's
predictions differ by the treatment only. Favero et al. (arXiv 2508.07006, 2025), figure 3, show one patient; nobody can
have observed more than one of the outcomes, and no published number stands beside these.
"""

import numpy as np
import pandas as pd

from msdiff.forecasting.slabs import Slabs
from msdiff.tables.estimates import difference, estimate
from msdiff.tables.forecasts import read_forecasts, read_slabs
from msdiff.tables.layout import TableSettings, assemble, with_intervals
from msdiff.tables.registry import Table, one

REFERENCE_ARM = "placebo"
# By the column of the forecasts: that of its mean, and of its paired difference to the reference arm.
NAMES = {
    "count_mean": ("mean_predicted_count", "count_difference_to_placebo"),
    "activity_probability": ("active_fraction", "active_difference_to_placebo"),
}
FEWER = "fewer_lesions_share"
COLUMNS = [
    *("cohort", "arm", "n"),
    *with_intervals([*(mean for mean, _ in NAMES.values()), *(paired for _, paired in NAMES.values()), FEWER]),
]


def counterfactuals_table(
    forecasts: pd.DataFrame, arms: list[str], cohort: str, settings: TableSettings
) -> pd.DataFrame:
    """One row per arm over all patients that were forecast under it; differences of those also forecast under placebo.

    `forecasts` has one row per patient and arm (see msdiff.tables.forecasts.read_forecasts).
    """
    predicted = {name: forecasts.pivot(index="subject", columns="arm", values=name) for name in NAMES}
    rows = []
    for arm in arms:
        of_arm = predicted["count_mean"][arm].dropna() if arm in predicted["count_mean"] else pd.Series(dtype=float)
        row = {"cohort": cohort, "arm": arm, "n": len(of_arm)}
        for name, (mean, paired) in NAMES.items():
            if not len(of_arm):
                continue
            row |= estimate(mean, predicted[name][arm].dropna().to_numpy(np.float64), settings)
            if arm == REFERENCE_ARM or REFERENCE_ARM not in predicted[name]:
                continue
            both = predicted[name][[arm, REFERENCE_ARM]].dropna().to_numpy(np.float64)
            row |= difference(paired, both[:, 0], both[:, 1], settings)
            if name == "count_mean":
                row |= estimate(FEWER, (both[:, 0] < both[:, 1]).astype(np.float64), settings)
        rows.append(row)
    return assemble(rows, [], COLUMNS)


def _of_slabs(slabs: Slabs, counterfactuals: pd.DataFrame, cohort: str, settings: TableSettings) -> pd.DataFrame:
    return counterfactuals_table(counterfactuals, slabs.arms, cohort, settings)


TABLE = Table(
    title="The same patients under every treatment",
    make=_of_slabs,
    inputs={"slabs": read_slabs, "counterfactuals": one(read_forecasts), "cohort": one(str)},
    settings={"settings": ("tables", TableSettings)},
)
