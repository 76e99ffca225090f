import json

import numpy as np
import pandas as pd
import pytest

from msdiff.__main__ import main
from msdiff.errors import BadInput
from msdiff.tables.privacy import COLUMNS, privacy_table, read_leakage, read_nearest

PROMISED = [
    *("source", "cohort", "generator", "measure", "n", "n_synthetic", "n_training", "n_reference"),
    *("n_reference_slices", "nearest_similarity_median", "nearest_similarity_p99", "reference_p99", "flagged"),
    *("flagged_share", "baseline_flagged_share"),
    *("baseline_similarity_median", "follow_up_similarity_median", "real_similarity_median"),
    "leaked_patients",
]
RECORD = {"leaked_patients": 0}
NEAREST = {"reference": ["validation", "test"], "percentile": 99.0}


@pytest.fixture
def nearest():
    """Two patients of ten and thirty samples, the second half of which is flagged; four held-out patients."""
    rows = []
    for subject, n, similarity in (("sub-1", 10, 0.5), ("sub-2", 30, 0.9)):
        for k in range(n):
            own = {"baseline_similarity": 0.99, "follow_up_similarity": np.nan, "real_similarity": 0.97}
            own["baseline_nearest"] = 0.8 if subject == "sub-1" else 0.7
            flagged = int(subject == "sub-2" and k % 2)
            rows.append({"kind": "synthetic", "subject": subject, "similarity": similarity, "flagged": flagged, **own})
    for k in range(4):
        rows.append({"kind": "held_out", "subject": f"sub-{k + 3}", "similarity": 0.6 + k / 20, "flagged": 0})
    frame = pd.DataFrame(rows).assign(slice=1, n_training=7, threshold=0.75)
    return pd.concat([frame.assign(measure=measure) for measure in ("pixel_correlation", "embedding")])


def test_columns_are_those_promised(nearest, table_settings):
    table = privacy_table([("long_ms_diff", nearest, RECORD)], "phantom", 99.0, table_settings)
    assert [column for column in table.columns if not column.endswith(("_lo", "_hi"))] == PROMISED
    assert ["source", *COLUMNS] == list(table.columns)
    assert table["measure"].tolist() == ["pixel_correlation", "embedding"]


def test_shares_are_of_samples_and_intervals_of_patients(nearest, table_settings):
    table = privacy_table([("long_ms_diff", nearest, RECORD)], "phantom", 99.0, table_settings)
    row = table.iloc[0]
    assert (row["n"], row["n_synthetic"], row["n_training"], row["flagged"]) == (2, 40, 7, 15)
    assert (row["n_reference"], row["n_reference_slices"], row["leaked_patients"]) == (4, 4, 0)
    assert row["flagged_share"] == pytest.approx(15 / 40)
    # A resample of two patients has one of them twice, or both.
    assert (row["flagged_share_lo"], row["flagged_share_hi"]) == (0, pytest.approx(0.5))
    assert row["baseline_flagged_share"] == pytest.approx(10 / 40)
    assert row["nearest_similarity_median"] == pytest.approx(0.9)
    assert row["nearest_similarity_median_lo"] == pytest.approx(0.5)
    assert row["baseline_similarity_median"] == pytest.approx(0.99)
    assert np.isnan(row["follow_up_similarity_median"])


def test_the_threshold_has_an_interval_over_held_out_patients(nearest, table_settings):
    row = privacy_table([("long_ms_diff", nearest, RECORD)], "phantom", 99.0, table_settings).iloc[0]
    assert row["reference_p99"] == pytest.approx(0.75)
    assert row["reference_p99_lo"] < 0.75 == pytest.approx(row["reference_p99_hi"])


def test_other_files_are_bad_input(tmp_path, nearest):
    nearest[nearest["kind"] == "synthetic"].to_csv(tmp_path / "nearest.tsv", sep="\t", index=False)
    with pytest.raises(BadInput, match="synthetic and held-out"):
        read_nearest(tmp_path / "nearest.tsv")
    nearest.to_csv(tmp_path / "nearest.tsv", sep="\t", index=False)
    with pytest.raises(BadInput, match="one value in the column generator, got none"):
        read_nearest(tmp_path / "nearest.tsv")
    (tmp_path / "leakage.json").write_text("[]")
    with pytest.raises(BadInput, match="record of check-leakage"):
        read_leakage(tmp_path / "leakage.json")


def test_lists_and_records_are_matched_by_their_generator(tmp_path, nearest, table_settings, capsys):
    def call(*recorded):
        inputs = ["--input", "cohort", "phantom", "--input", "nearest"]
        for name in ("first", "second"):
            nearest.assign(generator=name).to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False)
            inputs += [str(tmp_path / f"{name}.tsv")]
        inputs += ["--input", "leakage"]
        for name in recorded:
            (tmp_path / f"{name}.json").write_text(json.dumps(RECORD | {"generator": name}))
            inputs += [str(tmp_path / f"{name}.json")]
        sections = {"tables": table_settings.model_dump(), "privacy.nearest": NEAREST}
        out = tmp_path / "privacy.csv"
        return main(["table", "privacy", *inputs, "--out", str(out), "--settings", json.dumps(sections)])

    assert call("first", "second") == 0
    assert pd.read_csv(tmp_path / "privacy.csv")["generator"].unique().tolist() == ["first", "second"]
    assert call("first") == 2
    assert "expected one list and one record for each generator" in capsys.readouterr().err
