import itertools
import json

import numpy as np
import pandas as pd
import pytest
from indexed import write_patients

from msdiff import settings
from msdiff.metrics.regional import REGIONS
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
    """Two architectures on one mix, over two seeds: a folder of scores each."""
    base = tmp_path / "detection"
    for architecture, seed in itertools.product(("unet", "bit_resnet50"), (0, 1)):
        scores = pd.DataFrame(PATIENTS[seed], columns=COLUMNS)
        training = {"generator": "long_ms_diff", "architecture": architecture, "mix": "1-2", "seed": seed}
        training |= {"n_real": 10, "n_synthetic": 20 + seed}
        write_scores(base / f"{architecture}-{seed}", scores.assign(**training))
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


ARMS = ["placebo", "mild_efficacy", "high_efficacy"]
ACTIVE_SHARES = {"placebo": 0.6, "mild_efficacy": 0.35, "high_efficacy": 0.1}
SLAB = {"shape": [4, 3, 2], "affine": np.eye(4).tolist(), "sessions": ["w000", "w048", "w096"], "channels": []}


@pytest.fixture
def patients():
    """The patients of slabs: 40 of each arm to train on, 10 to validate, 20 to test."""
    rng = np.random.default_rng(0)
    rows = []
    for arm, split in itertools.product(ARMS, ["train"] * 40 + ["validation"] * 10 + ["test"] * 20):
        count = int(rng.integers(1, 6)) if rng.random() < ACTIVE_SHARES[arm] else 0
        regions = (int(count > 0), int(count > 0 and rng.random() < 0.4))
        rows.append((len(rows), f"sub-{len(rows) + 1:04d}", arm, split, 0, count, *regions))
    return pd.DataFrame(rows, columns=["row", "subject", "arm", "split", "count_before", "count", *REGIONS])


def forecasts_of(patients, split, draws=20):
    """Scores under each patient's own arm, partly right."""
    rng = np.random.default_rng(1)
    rows = []
    for patient in patients[patients["split"] == split].itertuples():
        probability = rng.binomial(draws, 0.6 if patient.count else 0.3) / draws
        row = {"subject": patient.subject, "arm": patient.arm, "own_arm": patient.arm, "split": split, "draws": draws}
        row |= {"activity_probability": probability, "count_mean": probability * 2}
        row |= {"true_count": patient.count, "true_active": int(patient.count > 0)}
        for region in REGIONS:
            chance = 0.5 if getattr(patient, region) else 0.2
            row |= {f"{region}_{score}": rng.binomial(draws, chance) / draws for score in ("score", "share")}
            row |= {f"true_{region}": getattr(patient, region)}
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture
def training(patients):
    return patients[patients["split"] == "train"]


@pytest.fixture
def validation(patients):
    return forecasts_of(patients, "validation")


@pytest.fixture
def tested(patients):
    return forecasts_of(patients, "test")


@pytest.fixture
def every_arm(tested):
    """The same patients under all arms: half and a third of the lesions under the later ones, no truth under others."""
    rows = []
    for patient, (number, arm) in itertools.product(tested.to_dict("records"), enumerate(ARMS, start=1)):
        predicted = {name: patient[name] / number for name in ("activity_probability", "count_mean")}
        unknown = {} if arm == patient["own_arm"] else {name: None for name in patient if name.startswith("true_")}
        rows.append(patient | {"arm": arm} | predicted | unknown)
    return pd.DataFrame(rows)


@pytest.fixture
def voxels(tested):
    """Brain voxels by level of probability: 90 at 0, 10 at a half, of which lesions are in active patients only."""
    rows = []
    for patient in tested.itertuples():
        rows.append((patient.subject, patient.arm, 0.0, 90, int(patient.true_count > 3)))
        rows.append((patient.subject, patient.arm, 0.5, 10, min(patient.true_count, 4)))
    return pd.DataFrame(rows, columns=["subject", "arm", "probability", "voxels", "positive_voxels"])


@pytest.fixture
def slabs_folder(patients, tmp_path):
    """Slabs of 2 x 3 x 4 voxels, of which 20 are brain; a lesion is one voxel, and the last patient has one outside."""
    folder = tmp_path / "slabs"
    folder.mkdir()
    write_patients(folder, patients)
    (folder / "slab.json").write_text(json.dumps(SLAB | {"arms": ARMS}))
    voxel = np.arange(24)
    net2 = voxel < patients["count"].to_numpy()[:, None]
    net2[-1, 23] = True
    brain = np.tile(voxel < 20, (len(patients), 1))
    for name, mask in (("net2", net2), ("brain_mask", brain)):
        np.save(folder / f"{name}.npy", mask.reshape(-1, 2, 3, 4).astype(np.uint8))
    return folder


@pytest.fixture
def scores_folder(tmp_path):
    """A function that writes a folder of scores."""

    def write(name, forecasts, voxels=None):
        folder = tmp_path / name / "scores"
        folder.mkdir(parents=True)
        forecasts.to_csv(folder / "patients.tsv", sep="\t", index=False)
        if voxels is not None:
            voxels.to_csv(folder / "voxels.tsv", sep="\t", index=False)
        return folder

    return write
