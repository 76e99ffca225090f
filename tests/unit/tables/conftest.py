import itertools

import pandas as pd
import pytest

from msdiff import settings
from msdiff.tables.layout import TableSettings

COLUMNS = [
    *("subject", "tp", "fp", "fn", "tn", "dice", "correct", "false_positives", "false_negatives", "true_lesions"),
    *(
        "msseg2_true_lesions",
        "msseg2_detected",
        "msseg2_predictions",
        "msseg2_true_predictions",
        "msseg2_predicted_mm3",
    ),
]
# By seed: sub-1 has four true lesions, sub-2 two, sub-3 none.
PATIENTS = {
    0: [
        ("sub-1", 30, 10, 10, 950, 0.75, 3, 1, 1, 4, 4, 3, 4, 2, 40.0),
        ("sub-2", 0, 0, 20, 980, 0, 0, 0, 2, 2, 2, 0, 0, 0, 0.0),
        ("sub-3", 0, 0, 0, 1000, None, 0, 0, 0, 0, 0, 0, 0, 0, 0.0),
    ],
    1: [
        ("sub-3", 0, 20, 0, 980, 0, 0, 2, 0, 0, 0, 0, 2, 0, 20.0),
        ("sub-1", 20, 0, 20, 960, 2 / 3, 2, 0, 2, 4, 4, 4, 2, 2, 20.0),
        ("sub-2", 10, 10, 10, 970, 0.5, 1, 1, 1, 2, 2, 1, 2, 1, 20.0),
    ],
}
TRUE_MM3 = {"sub-1": [5.0, 14.0, 30.0, 100.0], "sub-2": [14.0, 64.0]}
LESIONS = ["subject", "follow_up_session", "kind", "label", "volume_mm3", "matched", "msseg2_matched"]


def lesions_of(patients):
    """Lists the counted lesions: the largest true ones are found, false positives measure 10, 20, ... mm3."""
    rows = []
    for row in patients.itertuples():
        volumes = TRUE_MM3.get(row.subject, [])
        for label, volume in enumerate(volumes, start=1):
            found = label > len(volumes) - row.correct
            rows.append((row.subject, "ses-w048", "true", label, volume, found, found if volume > 5 else None))
        for label in range(1, row.correct + row.false_positives + 1):
            finds = label > row.false_positives
            rows.append((row.subject, "ses-w048", "predicted", label, 10.0 * label, finds, finds))
    return pd.DataFrame(rows, columns=LESIONS).astype({"matched": bool, "msseg2_matched": "boolean"})


def write_scores(folder, patients):
    folder.mkdir(parents=True)
    patients.to_csv(folder / "patients.tsv", sep="\t", index=False)
    lesions_of(patients).to_csv(folder / "lesions.tsv", sep="\t", index=False)


@pytest.fixture
def folder(tmp_path):
    """Two architectures on one mix, over two seeds."""
    base = tmp_path / "segmentation" / "phantom" / "long_ms_diff"
    for architecture, seed in itertools.product(("unet", "bit_resnet50"), (0, 1)):
        scores = pd.DataFrame(PATIENTS[seed], columns=COLUMNS)
        write_scores(base / architecture / "1-2" / f"seed-{seed}" / "scores", scores)
    (base / "mixes").mkdir()
    for seed in (0, 1):
        mix = pd.DataFrame({"kind": ["real"] * 10 + ["synthetic"] * (20 + seed), "slice": 3})
        mix.to_csv(base / "mixes" / f"1-2_seed-{seed}.tsv", sep="\t", index=False)
    return base


@pytest.fixture
def table_settings():
    values = {
        "confidence_level": 0.95,
        "bootstrap_resamples": 200,
        "bootstrap_seed": 7,
        "patients_per_resample": None,
        "expected_cost": {
            "cost_false_positive": 10,
            "cost_false_negative": 1,
            "prior_negative": 0.99,
            "prior_positive": 0.01,
        },
        "lesion_size_edges_mm3": [14.0, 65.0],
        "figure_patients": 3,
        "quality_pictures": 2,
    }
    return settings.check(TableSettings, values)
