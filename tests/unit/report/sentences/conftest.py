import numpy as np
import pandas as pd
import pytest

from msdiff.report.sentences import Run

CONFIG = {
    "study": "phantom",
    "cohort": {"phantom": {"sheet": None}},
    "synthesis": {"generators": ["long_ms_diff"], "plan": {"mass": {"count": 240}}},
    "tables": {"confidence_level": 0.95},
}
DETECTOR = {"cohort": "phantom", "generator": "long_ms_diff", "architecture": "unet"}


def ours(rows):
    return pd.DataFrame([{"source": "msdiff", **row} for row in rows])


def with_interval(name, value, low, high):
    return {name: value, f"{name}_lo": low, f"{name}_hi": high}


@pytest.fixture
def run_of():
    """A run of some tables, on the embedded cohort or, with a sheet, on another."""

    def build(tables, sheet=None, splits=None):
        config = {**CONFIG, "cohort": {"phantom": {"sheet": sheet}}}
        return Run(tables, config, splits or {})

    return build


@pytest.fixture(scope="session")
def ablation():
    """Without the mask much changes, without dropout nothing does."""

    def variant(name, adherence, error):
        return {"cohort": "phantom", "variant": name, "n": 4, "seeds": 1, **adherence, **error}

    return ours(
        [
            variant("complete", {"adherence_dice": 0.7}, {"mae_lesion": 0.05}),
            variant(
                "without_change_mask",
                with_interval("adherence_dice_difference", -0.6, -0.7, -0.5),
                with_interval("mae_lesion_difference", 0.1, 0.05, 0.2),
            ),
            variant(
                "without_dropout",
                with_interval("adherence_dice_difference", 0.01, -0.1, 0.1),
                with_interval("mae_lesion_difference", -0.01, -0.02, 0.01),
            ),
        ]
    )


@pytest.fixture(scope="session")
def tests_table():
    return ours(
        [
            {**DETECTOR, "real_synthetic": ratio, "metric": "lesion_f1", "n": 30, "p": p / 2, "p_holm": p}
            | with_interval("difference", difference, difference - 0.05, difference + 0.05)
            for ratio, difference, p in (("1:1", 0.1, 0.012), ("1:2", -0.02, 0.6), ("1:3", -0.2, 0.003))
        ]
    )


@pytest.fixture(scope="session")
def sizes():
    return ours(
        [
            {**DETECTOR, "real_synthetic": "1:0", "size": size, "n": 4, "n_lesions": n, "seeds": 1}
            | with_interval("lesion_recall", recall, recall / 2, min(1, recall * 1.5))
            for size, n, recall in (("below 14 mm3", 1, 0.0), ("14 to 65 mm3", 6, 0.5), ("above 65 mm3", 5, 0.8))
        ]
    )


@pytest.fixture(scope="session")
def privacy():
    shared = {"cohort": "phantom", "generator": "long_ms_diff", "n": 12, "n_synthetic": 240, "n_training": 120}
    values = {
        "nearest_similarity_median": 0.81,
        "nearest_similarity_p99": 0.9,
        "reference_p99": 0.92,
        "leaked_patients": 0,
    }
    return ours(
        [
            {**shared, **values, "measure": measure, "flagged": flagged, "flagged_share": flagged / 240}
            | {"baseline_similarity_median": similarity, "leaked_patients": 0}
            for measure, flagged, similarity in (("pixel_correlation", 0, 0.99), ("embedding", 1, 0.97))
        ]
    )


@pytest.fixture(scope="session")
def reader_study():
    def row(kind, values, readers=2, generator="long_ms_diff"):
        agreements = {f"{name}_agreement": 0.6 if kind == "all" else 0.1 for name in names}
        intervals = {}
        for name, (value, low, high) in values.items():
            intervals |= with_interval(name, value, low, high)
        return {
            "cohort": "phantom",
            "reader": "all",
            "kind": kind,
            "generator": generator,
            "n": 10,
            "readers": readers,
            **intervals,
            **agreements,
        }

    names = ("quality", "plausibility", "adherence")
    difference = {"quality": (-0.2, -0.4, -0.1), "plausibility": (0.05, -0.3, 0.4), "adherence": (0.3, 0.1, 0.5)}
    return ours(
        [
            row("synthetic", dict.fromkeys(names, (4.1, 3.9, 4.4))),
            row("real", dict.fromkeys(names, (4.3, 4.0, 4.5))),
            row("difference", difference),
            row("all", dict.fromkeys(names, (np.nan, np.nan, np.nan)), generator=""),
        ]
    )
