"""How like training follow-ups of other patients the synthetic ones are, by measure.

A row is one measure over all samples of a generator. Medians, percentiles and shares are those of all samples; their
intervals come from the patients who gave the baselines, resampled with all their samples. `p99` stands for the
percentile of the config. `reference_p99` is the threshold, with an interval over the held-out patients; the intervals
of the shares take the threshold as it is. `baseline_flagged_share` counts the samples whose own baseline, a real scan,
lies above it: what the choice of baselines explains of `flagged_share`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.lists import read_results
from msdiff.privacy.thresholds import NearestSettings, reference_threshold
from msdiff.tables.estimates import estimate
from msdiff.tables.layout import TableSettings, assemble, keys_of, with_intervals
from msdiff.tables.registry import Table, each, one

LIST_COLUMNS = [
    *("measure", "kind", "subject", "slice", "similarity", "baseline_similarity", "follow_up_similarity"),
    *("real_similarity", "baseline_nearest", "n_training", "threshold", "flagged"),
]
COLUMNS = [
    *("cohort", "generator", "measure", "n", "n_synthetic", "n_training", "n_reference", "n_reference_slices"),
    *with_intervals(["nearest_similarity_median", "nearest_similarity_p99", "reference_p99"]),
    "flagged",
    *with_intervals(["flagged_share", "baseline_flagged_share"]),
    *with_intervals(["baseline_similarity_median", "follow_up_similarity_median", "real_similarity_median"]),
    "leaked_patients",
]
# Of the samples' own scans: a median each.
OWN = ["baseline_similarity", "follow_up_similarity", "real_similarity"]


def privacy_table(
    lists: Sequence[tuple[str, pd.DataFrame, dict[str, Any]]], cohort: str, percentile: float, settings: TableSettings
) -> pd.DataFrame:
    """One row per generator and measure, from (generator, list of nearest follow-ups, record of the leakage check)."""
    rows = []
    for generator, nearest, record in lists:
        for measure, group in nearest.groupby("measure", sort=False):
            synthetic = group[group["kind"] == "synthetic"].reset_index(drop=True)
            reference = group[group["kind"] == "held_out"].reset_index(drop=True)
            synthetic["baseline_flagged"] = synthetic["baseline_nearest"] > synthetic["threshold"]
            of_patients = by_patient(synthetic)
            row: dict[str, Any] = {
                "cohort": cohort,
                "generator": generator,
                "measure": measure,
                "n": synthetic["subject"].nunique(),
                "n_synthetic": len(synthetic),
                "n_training": int(group["n_training"].iloc[0]),
                "n_reference": reference["subject"].nunique(),
                "n_reference_slices": len(reference),
                "flagged": int(synthetic["flagged"].sum()),
                "leaked_patients": record["leaked_patients"],
            }
            for name, column, statistic in (
                ("nearest_similarity_median", "similarity", np.nanmedian),
                ("nearest_similarity_p99", "similarity", lambda values: np.nanpercentile(values, percentile)),
                ("flagged_share", "flagged", np.nanmean),
                ("baseline_flagged_share", "baseline_flagged", np.nanmean),
                *((f"{own}_median", own, np.nanmedian) for own in OWN),
            ):
                row |= of_patients(name, synthetic[column].to_numpy(np.float64), statistic, settings)
            row |= _threshold(reference, synthetic["slice"].to_numpy(), percentile, settings)
            rows.append(row)
    return assemble(rows, [], COLUMNS)


def read_nearest(path: str | Path) -> pd.DataFrame:
    """A list of nearest follow-ups."""
    frame = read_results(path, LIST_COLUMNS)
    if not {"synthetic", "held_out"} <= set(frame["kind"]):
        raise BadInput(f"{path}: expected synthetic and held-out slices, got one kind only; find the nearest again")
    keys_of(frame, ["generator"], path)
    return frame


def read_leakage(path: str | Path) -> dict[str, Any]:
    """The record of a leakage check."""
    try:
        record: dict[str, Any] = json.loads(Path(path).read_text())
        record["leaked_patients"], record["generator"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: expected the record of check-leakage, cannot read it ({error})") from error
    return record


def by_patient(rows: pd.DataFrame) -> Callable[..., dict[str, float]]:
    """An estimate of a statistic of all rows, whose interval resamples the patients (column subject) of the rows."""
    places = [group.to_numpy() for _, group in rows.groupby("subject").groups.items()]

    def of(
        name: str,
        values: NDArray[np.float64],
        statistic: Callable[[NDArray[np.float64]], Any],
        settings: TableSettings,
    ) -> dict[str, float]:
        def over(patients: NDArray[np.float64]) -> float:
            taken = values[np.concatenate([places[int(patient)] for patient in patients])]
            return float(statistic(taken)) if np.isfinite(taken).any() else np.nan

        return estimate(name, np.arange(len(places), dtype=np.float64), settings, over)

    return of


def _threshold(
    reference: pd.DataFrame, levels: NDArray[np.int64], percentile: float, settings: TableSettings
) -> dict[str, float]:
    """The threshold, and its interval over the held-out patients."""
    patients, names = pd.factorize(reference["subject"])
    similarities, own = (reference[column].to_numpy() for column in ("similarity", "slice"))

    def over(resampled: NDArray[np.float64]) -> float:
        times = np.bincount(resampled.astype(np.int64), minlength=len(names)).astype(np.float64)
        return reference_threshold(similarities, own, levels, percentile, times[patients])

    return estimate("reference_p99", np.arange(len(names), dtype=np.float64), settings, over)


def _of_generators(
    nearest: Sequence[pd.DataFrame],
    leakage: Sequence[Mapping[str, Any]],
    cohort: str,
    thresholds: NearestSettings,
    settings: TableSettings,
) -> pd.DataFrame:
    records = {record["generator"]: record for record in leakage}
    lists = {frame["generator"].iloc[0]: frame for frame in nearest}
    if list(lists) != list(records):
        raise BadInput(
            f"expected one list and one record for each generator, got lists of {', '.join(lists)} and records of "
            f"{', '.join(records)}"
        )
    return privacy_table(
        [(name, frame, dict(records[name])) for name, frame in lists.items()], cohort, thresholds.percentile, settings
    )


TABLE = Table(
    title="Follow-ups against training scans of other patients",
    make=_of_generators,
    inputs={"nearest": each(read_nearest), "leakage": each(read_leakage), "cohort": one(str)},
    settings={"thresholds": ("privacy.nearest", NearestSettings), "settings": ("tables", TableSettings)},
    main_columns=(
        *("source", "generator", "measure", "n", "n_synthetic", "n_training", "nearest_similarity_median"),
        *("reference_p99", "flagged", "flagged_share", "baseline_flagged_share", "baseline_similarity_median"),
        *("real_similarity_median", "leaked_patients"),
    ),
)
