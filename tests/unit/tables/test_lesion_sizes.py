import json

import numpy as np
import pandas as pd
import pytest

from msdiff.__main__ import main
from msdiff.errors import BadInput
from msdiff.tables.augmentation import augmentation_table
from msdiff.tables.detector_runs import read_run
from msdiff.tables.layout import OURS, read_table
from msdiff.tables.lesion_sizes import COLUMNS, lesion_sizes_table, size_names
from msdiff.tables.lesions import LESION_COLUMNS, lesions_table


def read_all(folder):
    return [read_run(path) for path in sorted(folder.iterdir())]


def test_strata_are_named_by_their_edges():
    assert size_names([]) == ["any"]
    assert size_names([14.0]) == ["<14", ">=14"]
    assert size_names([14.0, 65.0, 524.5]) == ["<14", "14-65", "65-524.5", ">=524.5"]


def test_known_answers_over_two_seeds(folder, table_settings):
    """True lesions of 5, 14, 30, 100 and 14, 64 mm3, found from the largest on: 3 and 0 of them, then 2 and 1."""
    table = lesion_sizes_table(read_all(folder), "phantom", table_settings)
    assert list(table.columns) == ["source", *COLUMNS]
    ours = table[table["architecture"] == "unet"].set_index("size")
    assert ours.index.tolist() == ["<14", "14-65", ">=65"]
    assert ours["n"].tolist() == [3, 3, 3]
    assert ours["seeds"].tolist() == [2, 2, 2]
    # A lesion of 14 mm3 belongs to the stratum that begins there.
    assert ours["n_lesions"].tolist() == [1, 4, 1]
    assert ours["lesion_recall"].tolist() == pytest.approx([0, (2 + 1 + 0 + 1) / 8, 1])
    # False positives of 10 mm3, of 10 and of 10 and 20, in six times a patient.
    assert ours["false_positives_per_patient"].tolist() == pytest.approx([3 / 6, 1 / 6, 0])


def test_strata_add_up_to_the_table_of_mixes(folder, table_settings):
    runs = read_all(folder)
    sizes = lesion_sizes_table(runs, "phantom", table_settings)
    whole = augmentation_table(runs, "phantom", table_settings)
    whole = whole[whole["source"] == OURS].set_index("architecture")
    for architecture, group in sizes.groupby("architecture"):
        found = (group["lesion_recall"] * group["n_lesions"]).sum()
        assert found == pytest.approx(whole.loc[architecture, "correct"])
        false_positives = group["false_positives_per_patient"].sum()
        assert false_positives == pytest.approx(whole.loc[architecture, "false_positives_per_patient"])


def test_a_stratum_without_lesions_has_no_recall(folder, table_settings):
    settings = table_settings.model_copy(update={"lesion_size_edges_mm3": (14.0, 65.0, 524.0)})
    table = lesion_sizes_table(read_all(folder), "phantom", settings)
    large = table[table["size"] == ">=524"]
    assert large["n_lesions"].eq(0).all()
    assert large.filter(like="lesion_recall").isna().all(axis=None)
    assert large["false_positives_per_patient"].eq(0).all()


def test_a_volume_meets_its_edge_however_it_is_rounded(folder, table_settings):
    runs = read_all(folder)
    for run in runs:
        run.lesions["volume_mm3"] *= 0.1 * 3 / 0.3
    table = lesion_sizes_table(runs, "phantom", table_settings)
    pd.testing.assert_frame_equal(table, lesion_sizes_table(read_all(folder), "phantom", table_settings))


def test_lesions_of_another_patient_are_an_error(folder):
    path = folder / "unet-1"
    (path / "lesions.tsv").write_text((path / "lesions.tsv").read_text().replace("sub-2", "sub-9"))
    with pytest.raises(BadInput, match=r"lesions\.tsv: expected lesions of the patients beside it, got sub-9"):
        read_run(path)


def test_no_lesion_anywhere_is_no_error(folder, table_settings):
    for path in folder.iterdir():
        (path / "lesions.tsv").write_text((path / "lesions.tsv").read_text().splitlines()[0] + "\n")
    runs = read_all(folder)
    table = lesion_sizes_table(runs, "phantom", table_settings)
    assert table["n_lesions"].eq(0).all()
    assert table["lesion_recall"].isna().all()
    assert table["false_positives_per_patient"].eq(0).all()
    assert lesions_table(runs, "phantom", table_settings).empty


def test_every_lesion_of_every_training_is_listed(folder, table_settings):
    table = lesions_table(read_all(folder), "phantom", table_settings)
    assert list(table.columns) == ["source", *LESION_COLUMNS]
    unet = table[table["architecture"] == "unet"]
    assert unet["kind"].value_counts().to_dict() == {"true": 2 * 6, "predicted": 4 + 0 + 2 + 2 + 2}
    sizes = lesion_sizes_table(read_all(folder), "phantom", table_settings)
    counts = unet[unet["kind"] == "true"]["size"].value_counts() / 2
    expected = sizes[sizes["architecture"] == "unet"].set_index("size")["n_lesions"]
    np.testing.assert_array_equal(counts.reindex(expected.index), expected)
    small = unet["volume_mm3"] == 5
    assert unet.loc[small, "msseg2_matched"].isna().all()
    assert unet.loc[~small, "msseg2_matched"].notna().all()


@pytest.mark.parametrize(("command", "n_rows"), [("lesion_sizes", 2 * 3), ("lesions", 2 * (12 + 10))])
def test_commands_write_the_tables(folder, tmp_path, table_settings, command, n_rows):
    scores = [str(path) for path in folder.iterdir()]
    out = tmp_path / "table.csv"
    options = ["--out", str(out), "--settings", json.dumps({"tables": table_settings.model_dump()})]
    assert main(["table", command, "--input", "cohort", "phantom", "--input", "runs", *scores, *options]) == 0
    assert len(read_table(out)) == n_rows
