"""Generated against real follow-ups of held-out patients, by generator and region.

The scores list every sample and region; a patient's value is the mean of its samples that have one, and a row is the
mean over patients; the ratio of lesion contrasts is that of the patients' mean contrasts. Baselines (a copy of the
baseline scan, a blurred one, one with the mask painted in) and references (the noise floor, the real follow-up) are
rows like any other.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.lists import read_results
from msdiff.tables.estimates import estimate
from msdiff.tables.layout import TableSettings, assemble, with_intervals
from msdiff.tables.registry import Table, one

KEYS = ["cohort", "generator", "region"]
METRICS = ["mse", "mae", "psnr", "ms_ssim", "change_mae", "lesion_contrast_ratio", "adherence_dice"]
COLUMNS = [*KEYS, "n", *with_intervals(METRICS)]
# Of these two a row holds the ratio.
CONTRASTS = ["lesion_contrast", "real_lesion_contrast"]
MEANS = [metric for metric in METRICS if metric != "lesion_contrast_ratio"]
SCORE_COLUMNS = ["subject", "sample", "generator", "region", *MEANS, *CONTRASTS]
# What any generator must beat, where it is good for something.
BASELINES = ("paste_lesion", "copy_baseline", "blurred_baseline")
# What limits a generator: the error between two real scans where nothing changed, and the real follow-up's adherence.
NOISE_FLOOR, REAL = REFERENCES = ("noise_floor", "real_follow_up")
# In this order in the table; others follow by name.
REGIONS = ["brain", "lesion", "ring", "outside"]


def image_quality_table(scores: pd.DataFrame, cohort: str, settings: TableSettings) -> pd.DataFrame:
    """One row per generator and region of a cohort's scores (SCORE_COLUMNS)."""
    # The baselines stand in the scores of every generator.
    scores = scores.drop_duplicates(["generator", "region", "subject", "sample"])
    # Two images that agree exactly have an infinite ratio, which no mean survives.
    values = scores[[*MEANS, *CONTRASTS]].astype(float).replace([np.inf, -np.inf], np.nan)
    patients = values.groupby([scores["generator"], scores["region"], scores["subject"]]).mean()
    rows = []
    for keys, group in patients.groupby(level=["generator", "region"]):
        row = dict(zip(KEYS, (cohort, *keys), strict=True)) | {"n": len(group)}
        for metric in MEANS:
            row |= estimate(metric, group[metric].to_numpy(), settings)
        row |= estimate("lesion_contrast_ratio", group[CONTRASTS].to_numpy(), settings, contrast_ratio)
        rows.append(row)
    rows.sort(key=lambda row: (*generator_order(row["generator"]), *_region_order(row["region"])))
    return assemble(rows, [], COLUMNS)


def read_scores(paths: Sequence[str | Path]) -> pd.DataFrame:
    """The scores of one or more generators."""
    frames = []
    for path in paths:
        frame = read_results(path, SCORE_COLUMNS)
        if frame.empty:
            raise BadInput(f"{path}: expected at least one scored sample, got none; sample held-out patients first")
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def generator_order(generator: str) -> tuple[int, str]:
    """Sorts generators before the baselines they must beat, and those before what limits them."""
    return (2 if generator in REFERENCES else int(generator in BASELINES), generator)


def contrast_ratio(contrasts: NDArray[np.float64]) -> float:
    """Mean of the first column over that of the second, over patients (patient, 2) that have both."""
    generated, real = contrasts[~np.isnan(contrasts).any(axis=1)].T
    return float(generated.sum() / real.sum()) if real.sum() else np.nan


def _region_order(region: str) -> tuple[int, str]:
    return (REGIONS.index(region) if region in REGIONS else len(REGIONS), region)


TABLE = Table(
    title="Generated against real follow-ups",
    make=image_quality_table,
    inputs={"scores": read_scores, "cohort": one(str)},
    settings={"settings": ("tables", TableSettings)},
)
