"""How much each component of a generator contributes: the whole generator, and without one component at a time.

All variants follow the same held-out plan, so that every one of them has the same baselines, masks and noise. A
patient's value is the mean of its samples, then of the trainings with different seeds; a row is the mean over patients,
the ratio of lesion contrasts that of the patients' mean contrasts. The difference to the complete generator is taken
over the same resampled patients (paired bootstrap): between variants, patients differ less than from each other.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.metrics.intervals import Statistic, mean, over_seeds
from msdiff.tables.estimates import difference, estimate
from msdiff.tables.image_quality import BASELINES, CONTRASTS, REFERENCES, contrast_ratio, read_scores
from msdiff.tables.layout import TableSettings, assemble, keys_of, with_intervals
from msdiff.tables.registry import Table, one

COMPLETE = "complete"


class Metric(NamedTuple):
    """Where a metric stands in the scores, and what is made of the patients' values."""

    region: str
    columns: tuple[str, ...]
    statistic: Statistic


METRICS: Mapping[str, Metric] = {
    "mae_brain": Metric("brain", ("mae",), mean),
    "mae_lesion": Metric("lesion", ("mae",), mean),
    "lesion_contrast_ratio": Metric("lesion", tuple(CONTRASTS), contrast_ratio),
    "adherence_dice": Metric("lesion", ("adherence_dice",), mean),
    "change_outside": Metric("outside", ("change_mae",), mean),
}
COLUMNS = [
    *("cohort", "variant", "n", "seeds"),
    *with_intervals(column for metric in METRICS for column in (metric, f"{metric}_difference")),
]


def ablation_table(scores: Mapping[str, Sequence[pd.DataFrame]], cohort: str, settings: TableSettings) -> pd.DataFrame:
    """One row per variant, from the image scores of its trainings; differences are the variant less the complete one.

    Raises BadInput where the complete generator is missing, or the variants were scored on different patients.
    """
    if COMPLETE not in scores:
        raise BadInput(f"scores: expected those of the variant {COMPLETE}, got {', '.join(scores) or 'none'}")
    whole = {name: _values(scores[COMPLETE], metric) for name, metric in METRICS.items()}
    patients = _patients(scores[COMPLETE][0])
    rows = []
    for variant, trainings in scores.items():
        for training in trainings:
            if _patients(training) != patients:
                raise BadInput(
                    f"scores: expected {variant} on the same {len(patients)} patients as {COMPLETE}, got "
                    f"{len(_patients(training))} of which some are others; score all variants on one held-out plan"
                )
        row: dict[str, object] = {"cohort": cohort, "variant": variant, "n": len(patients), "seeds": len(trainings)}
        for name, metric in METRICS.items():
            values = _values(trainings, metric)
            row |= estimate(name, values, settings, metric.statistic)
            if variant != COMPLETE:
                row |= difference(f"{name}_difference", values, whole[name], settings, metric.statistic)
        rows.append(row)
    return assemble(rows, [], COLUMNS)


def read_variants(paths: Sequence[str | Path]) -> dict[str, list[pd.DataFrame]]:
    """The generators' scores by variant, one frame per training, in the order of the paths.

    Raises BadInput where scores do not name their variant.
    """
    variants: dict[str, list[pd.DataFrame]] = {}
    for path in paths:
        scores = read_scores([path])
        generated = scores[~scores["generator"].isin([*BASELINES, *REFERENCES])]
        variants.setdefault(keys_of(scores, ["variant"], path)["variant"], []).append(generated)
    return variants


def _patients(scores: pd.DataFrame) -> list[str]:
    return sorted(set(scores["subject"]))


def _values(trainings: Sequence[pd.DataFrame], metric: Metric) -> NDArray[np.float64]:
    """Values of the patients in the order of their names, mean over trainings: (patient,), or (patient, column)."""
    columns = list(metric.columns)
    of_trainings = [
        scores[scores["region"] == metric.region].groupby("subject")[columns].mean().reindex(_patients(scores))
        for scores in trainings
    ]
    values = over_seeds(np.stack([frame.to_numpy(np.float64) for frame in of_trainings]))
    return values[:, 0] if len(columns) == 1 else values


TABLE = Table(
    title="How much each component of the method contributes",
    make=ablation_table,
    inputs={"scores": read_variants, "cohort": one(str)},
    settings={"settings": ("tables", TableSettings)},
)
