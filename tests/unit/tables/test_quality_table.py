import logging

import numpy as np
import pandas as pd
import pytest

from msdiff.__main__ import main
from msdiff.errors import BadInput
from msdiff.preprocess.quality import MEASURES
from msdiff.tables.layout import read_table
from msdiff.tables.quality import COLUMNS, quality_table, summary

LIMITS = {"snr": (10.0, None), "residual_shift_mm": (None, 1.0), "brain_ml": (800.0, 2100.0)}


def write_patient(folder, subject, sessions):
    """A folder with a patient's, as check-quality writes it, from measures by session; the first one."""
    (folder / subject).mkdir(parents=True)
    rows = [
        {"subject": subject, "session": session, "contrasts": "flair t1w", **dict.fromkeys(MEASURES, np.nan)}
        | measures
        | {"score": 2.0, "flag": "SNR 5 (at least 10)" if measures["snr"] < 10 else ""}
        for session, measures in sessions.items()
    ]
    pd.DataFrame(rows).to_csv(folder / subject / "quality.tsv", sep="\t", index=False)
    return folder


@pytest.fixture
def patients(tmp_path):
    return [
        write_patient(
            tmp_path / "001",
            "sub-2",
            {"ses-1": {"snr": 40.0, "brain_ml": 1500.0}, "ses-2": {"snr": 20.0, "residual_shift_mm": 2.0}},
        ),
        write_patient(
            tmp_path / "002", "sub-1", {"ses-1": {"snr": 5.0}, "ses-2": {"snr": 7.0, "residual_shift_mm": 0.5}}
        ),
        write_patient(tmp_path / "003", "sub-3", {"ses-1": {"snr": 50.0}}),
    ]


def test_a_row_is_a_scan(patients):
    table = quality_table(patients, "phantom")
    assert table.columns.tolist() == ["source", *COLUMNS]
    assert table.columns[:4].tolist() == ["source", "cohort", "subject", "session"]
    assert table[["subject", "session"]].agg(" ".join, axis=1).tolist() == [
        *("sub-1 ses-1", "sub-1 ses-2", "sub-2 ses-1", "sub-2 ses-2", "sub-3 ses-1")
    ]
    assert (table["source"] == "msdiff").all()
    assert table["flag"].notna().tolist() == [True, True, False, False, False]


def test_a_patient_counts_once_in_the_summary(patients, table_settings):
    ours = summary(quality_table(patients, "phantom"), LIMITS, table_settings).set_index("measure")
    assert ours.index.tolist() == ["brain volume, ml", "misaligned with the session before by, mm", "SNR"]
    assert ours["n"].tolist() == [1, 2, 3]
    snr = ours.loc["SNR"]
    # Patients' means are 6, 30 and 50.
    assert (snr["median"], snr["lowest"], snr["highest"], snr["flagged"]) == (30, 5, 50, 2)
    assert snr["median_lo"] == 6
    assert snr["median_hi"] == 50
    assert ours["accepted"].tolist() == ["800 to 2100", "at most 1", "at least 10"]
    assert ours["flagged"].tolist() == [0, 1, 2]


def test_command_writes_the_table_and_names_the_flagged(patients, tmp_path, caplog):
    inputs = ["--input", "cohort", "phantom", "--input", "folders", *map(str, patients)]
    caplog.set_level(logging.WARNING)
    assert main(["table", "quality", *inputs, "--out", str(tmp_path / "quality.csv"), "--settings", "{}"]) == 0
    assert len(read_table(tmp_path / "quality.csv")) == 5
    assert "sub-1 ses-2: SNR 5" in caplog.text


def test_a_cohort_without_a_flag_is_a_table_too(tmp_path, caplog):
    write_patient(tmp_path, "sub-1", {"ses-1": {"snr": 20.0}})
    table = quality_table([tmp_path], "phantom")
    assert table["flag"].isna().tolist() == [True]
    assert not caplog.records


def test_a_folder_without_measures_is_an_error(tmp_path):
    with pytest.raises(BadInput, match=r"quality\.tsv"):
        quality_table([tmp_path], "phantom")
