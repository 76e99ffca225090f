"""From how similar on a synthetic follow-up is flagged: what real follow-ups of unseen patients hardly ever reach.

How alike two patients' slices are depends on the level: the few pixels of brain at the vertex are alike in all heads.
The held-out slices are therefore weighted such that every level counts as much among them as among the synthetic ones.
"""

from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from msdiff.errors import BadInput
from msdiff.settings import Settings

Numbers = NDArray[Any]

# Of a patient's own scans.
OWN = ["baseline_similarity", "follow_up_similarity", "real_similarity", "baseline_nearest"]
# Of the list of nearest follow-ups, which is read without torch too.
NEAREST_COLUMNS = [
    *("measure", "kind", "subject", "sample", "follow_up_row", "slice", "similarity"),
    *("nearest_subject", "nearest_row", "nearest_slice", *OWN, "n_training", "threshold", "flagged"),
]


class NearestSettings(Settings):
    """Section `privacy.nearest`.

    reference           splits whose real follow-ups set the threshold
    percentile          of their nearest similarities; a synthetic follow-up above it is flagged
    """

    reference: Annotated[tuple[Literal["validation", "test"], ...], Field(min_length=1)]
    percentile: Annotated[float, Field(gt=0, le=100)]


class PictureSettings(Settings):
    """Section `privacy.pictures`; pairs of a measure that are pictured, the most similar first."""

    pairs: Annotated[int, Field(ge=1)]


def reference_threshold(
    similarities: Numbers, levels: Numbers, wanted: Numbers, percentile: float, times: Numbers | None = None
) -> float:
    """The percentile (in [0, 100]) of held-out slices' similarities (slice,), spread over the levels as others are.

    Parameters
    ----------
    similarities, levels
        Of the held-out slices (slice,).
    wanted
        Levels of the synthetic slices (sample,).
    times
        How often each held-out slice counts (slice,), in a resample of patients; None is once.

    NaN where no held-out slice lies at a synthetic one's level.
    """
    weights = level_weights(levels, wanted, times)
    return weighted_percentile(similarities, weights, percentile)


def level_weights(levels: Numbers, wanted: Numbers, times: Numbers | None = None) -> Numbers:
    """Weights (slice,) with which held-out slices are spread over the levels as the wanted ones (sample,) are."""
    levels, wanted = np.asarray(levels, dtype=np.int64), np.asarray(wanted, dtype=np.int64)
    once = np.ones(len(levels)) if times is None else times
    size = int(max(levels.max(initial=0), wanted.max(initial=0))) + 1
    there = np.bincount(levels, weights=once, minlength=size)
    share = np.bincount(wanted, minlength=size) / np.where(there > 0, there, np.inf)
    return np.asarray(once * share[levels])


def weighted_percentile(values: Numbers, weights: Numbers, percentile: float) -> float:
    """The smallest of the values (N,) that, with all below it, has this share of the weight (N,); NaN without weight.

    >>> weighted_percentile(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 1.0, 1.0, 0.0]), 50)
    2.0
    """
    if not weights.sum() > 0:
        return np.nan
    order = np.argsort(values, kind="stable")
    shares = np.cumsum(weights[order]) / weights.sum()
    # Rounding must not carry a share of exactly one beyond the last value that has weight.
    place = np.searchsorted(shares, percentile / 100 - 1e-12)
    return float(values[order[place]])


def flag(rows: pd.DataFrame, percentile: float) -> pd.DataFrame:
    """The list of nearest follow-ups with the columns threshold and flagged (0 or 1), by measure.

    Raises BadInput where no held-out slice lies at the level of a synthetic one.
    """
    parts = []
    for measure, group in rows.groupby("measure", sort=False):
        synthetic = (group["kind"] == "synthetic").to_numpy()
        similarities, levels = (group[column].to_numpy() for column in ("similarity", "slice"))
        threshold = reference_threshold(similarities[~synthetic], levels[~synthetic], levels[synthetic], percentile)
        if np.isnan(threshold):
            raise BadInput(
                f"{measure}: expected real follow-ups of held-out patients at the levels of the synthetic ones, got "
                "none; assign patients to validation and test, or add a split to privacy.nearest.reference"
            )
        flagged = (synthetic & (group["similarity"] > threshold)).astype(int)
        parts.append(group.assign(threshold=threshold, flagged=flagged))
    return pd.concat(parts, ignore_index=True)
