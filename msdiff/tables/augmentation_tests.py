"""Does a mix with synthetic slices beat real slices alone? Paired tests over the test patients.

Of each patient and metric the values are averaged over the seeds; patients with a value on both sides are compared.

    difference    mean over patients of mix - real only; its bootstrap interval resamples both sides alike
    p             Wilcoxon's signed-rank test on the pairs, two-sided
    p_holm        the same, adjusted by Holm for the mixes of one architecture and metric

A positive difference is an improvement of dice, lesion_f1 and lesion_f2, and a worsening of false_positives (a
patient's number). With n patients no p is below 2^(1 - n): with four, nothing can be significant.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.metrics.intervals import holm, over_seeds, wilcoxon_paired
from msdiff.metrics.lesion import LesionCounts, lesion_f
from msdiff.tables.detector_runs import KEYS, LESIONS, DetectorRun, by_training, read_run
from msdiff.tables.estimates import difference
from msdiff.tables.layout import TableSettings, assemble, with_intervals
from msdiff.tables.registry import Table, each, one

REAL_ONLY = "1:0"
COLUMNS = [*KEYS, "metric", "n", *with_intervals(["difference"]), "p", "p_holm"]


def _lesion_f(beta: float) -> Callable[[pd.DataFrame], NDArray[np.float64]]:
    """A patient's F score, NaN where there is neither a true nor a predicted lesion."""
    return lambda patients: np.array(
        [lesion_f(LesionCounts(*counts), beta, np.nan) for counts in patients[LESIONS].to_numpy()], dtype=np.float64
    )


# A patient's value (patient,) from the scores of one training.
METRICS: dict[str, Callable[[pd.DataFrame], NDArray[np.float64]]] = {
    "dice": lambda patients: patients["dice"].to_numpy(dtype=np.float64),
    "lesion_f1": _lesion_f(1),
    "lesion_f2": _lesion_f(2),
    "false_positives": lambda patients: patients["false_positives"].to_numpy(dtype=np.float64),
}


def augmentation_tests_table(runs: Sequence[DetectorRun], cohort: str, settings: TableSettings) -> pd.DataFrame:
    """One row per mix other than real only, and metric; none for an architecture that was not trained on real only.

    Raises BadInput as `by_training`.
    """
    groups = by_training(runs)
    rows = []
    for generator, architecture in dict.fromkeys(keys[:2] for keys in groups):
        mixes = {keys[2]: group for keys, group in groups.items() if keys[:2] == (generator, architecture)}
        if REAL_ONLY not in mixes:
            continue
        for metric, of_patients in METRICS.items():
            values = {
                ratio: over_seeds(np.stack([of_patients(run.patients) for run in group]))
                for ratio, group in mixes.items()
            }
            real = values.pop(REAL_ONLY)
            compared = [_compare(of_mix, real, settings) for of_mix in values.values()]
            for ratio, row, adjusted in zip(values, compared, holm([row["p"] for row in compared]), strict=True):
                keys = dict(zip(KEYS, (cohort, generator, architecture, ratio), strict=True))
                rows.append({**keys, "metric": metric, **row, "p_holm": adjusted})
    return assemble(rows, [], COLUMNS)


def _compare(mix: NDArray[np.float64], real: NDArray[np.float64], settings: TableSettings) -> dict[str, float]:
    """The columns n, difference and p of two detectors' values (patient,)."""
    both = ~np.isnan(mix) & ~np.isnan(real)
    return {
        "n": int(both.sum()),
        **difference("difference", mix[both], real[both], settings),
        "p": wilcoxon_paired(mix, real),
    }


TABLE = Table(
    title="Differences from real slices alone, tested",
    make=augmentation_tests_table,
    inputs={"runs": each(read_run), "cohort": one(str)},
    settings={"settings": ("tables", TableSettings)},
    main_rows=("metric", ("dice", "lesion_f1")),
)
