import os
from pathlib import Path

import pandas as pd
import pytest

from msdiff.cohort.sheets import CONTRASTS, read_sheet, write_sheet
from msdiff.errors import BadInput

SHARED = os.environ.get("MSDIFF_SHARED")
ROW = {"subject": "sub-1", "session": "ses-a", "days": "0", "flair": "a.nii.gz", "split": "train", "arm": "placebo"}


def rows(*changes):
    return [ROW | change for change in changes]


GOOD = rows({}, {"session": "ses-b", "days": "300", "flair": "b.nii.gz"})


@pytest.fixture
def write(tmp_path):
    def writer(table, name="scans.tsv"):
        for file in ("a.nii.gz", "b.nii.gz"):
            (tmp_path / file).touch()
        path = tmp_path / name
        pd.DataFrame(table).to_csv(path, sep="\t", index=False)
        return path

    return writer


def test_paths_are_resolved_and_gaps_are_empty(write, tmp_path):
    table = read_sheet(write(GOOD), ["flair"])
    assert table["flair"].tolist() == [str(tmp_path / "a.nii.gz"), str(tmp_path / "b.nii.gz")]
    assert table["days"].tolist() == [0, 300]
    assert (table[["lesion_mask", "change_mask", "brain_mask"]] == "").all(axis=None)


def test_rows_may_come_in_any_order(write):
    one, other = read_sheet(write(GOOD), ["flair"]), read_sheet(write(GOOD[::-1], "b.tsv"), ["flair"])
    pd.testing.assert_frame_equal(one, other)


def test_a_missing_contrast_of_one_scan_is_normal(write):
    table = read_sheet(write([GOOD[0] | {"t1w": ""}, GOOD[1] | {"t1w": "a.nii.gz"}]), ["flair", "t1w"])
    assert table["t1w"].iloc[0] == ""


def test_written_paths_are_relative_to_the_sheet(write, tmp_path):
    table = read_sheet(write(GOOD), ["flair"])
    (tmp_path / "deep").mkdir()
    write_sheet(table, tmp_path / "deep" / "scans.tsv")
    assert "../a.nii.gz" in (tmp_path / "deep" / "scans.tsv").read_text()
    pd.testing.assert_frame_equal(read_sheet(tmp_path / "deep" / "scans.tsv", ["flair"]), table)


def test_files_may_be_simulated_later(write):
    table = [row | {"lesion_mask": "later.nii.gz"} for row in GOOD]
    read_sheet(write(table), ["flair"], check_files=False)
    with pytest.raises(BadInput, match=r"later\.nii\.gz"):
        read_sheet(write(table), ["flair"])


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (rows({}, {"session": "ses-b", "days": "9", "flair": "gone.nii.gz"}), ["sub-1 ses-b", "flair", "gone.nii.gz"]),
        (rows({}, {"days": "9"}), ["sub-1 ses-a", "session", "twice"]),
        (rows({}, {"session": "ses-b", "days": "9", "split": "test"}), ["sub-1 ses-b", "split", "'train', 'test'"]),
        (rows({}, {"session": "ses-b", "days": "9", "arm": "other"}), ["sub-1 ses-b", "arm"]),
        (rows({"exclude": "motion"}), ["all excluded"]),
        (rows({"exclude": "motion"}, {"exclude": "motion"}), ["sub-1 ses-a", "session", "twice"]),
        (rows({}, {"session": "ses-b", "days": "0"}), ["sub-1 ses-b", "days", "more days"]),
        (rows({}, {"session": "ses-b", "days": "9.5"}), ["sub-1 ses-b", "days", "9.5"]),
        (rows({}, {"session": "ses-b", "days": ""}), ["sub-1 ses-b", "days"]),
        (rows({"subject": "1"}), ["subject", "'1'"]),
        (rows({"subject": "sub-1_2"}), ["subject", "sub-1_2"]),
        (rows({"session": "w048"}), ["session", "w048"]),
        (rows({"split": "training"}), ["split", "training"]),
        (rows({"flair": ""}), ["flair", "empty"]),
        (rows({"change_mask_transform": "a.txt"}), ["change_mask_transform"]),
        (rows({"age": "40"}), ["unknown column 'age'"]),
        ([{"subject": "sub-1", "session": "ses-a", "days": "0"}], ["contrast", "flair"]),
        ([{"subject": "sub-1", "session": "ses-a", "days": "0", "t1w": "a.nii.gz"}], ["missing column 'flair'"]),
        ([{"subject": "sub-1", "session": "ses-a", "flair": "a.nii.gz"}], ["missing column 'days'"]),
    ],
)
def test_faults_are_told_in_one_line(write, table, names):
    with pytest.raises(BadInput) as fault:
        read_sheet(write(table), ["flair"])
    message = str(fault.value)
    assert "\n" not in message
    for name in ["scans.tsv", *names]:
        assert name in message


@pytest.mark.parametrize(
    "text", ["", "subject\tsession\tdays\tflair\n", "subject,session,days,flair\nsub-1,ses-a,0,x\n"]
)
def test_what_is_no_sheet_is_refused(tmp_path, text):
    (tmp_path / "scans.tsv").write_text(text)
    with pytest.raises(BadInput, match=r"scans\.tsv"):
        read_sheet(tmp_path / "scans.tsv", ["flair"])


def test_missing_sheet_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no such sheet"):
        read_sheet(tmp_path / "none.tsv", ["flair"])


def test_one_session_is_enough(write):
    assert len(read_sheet(write(rows({})), ["flair"])) == 1


def test_what_a_spreadsheet_writes_is_read(write, tmp_path):
    text = write(GOOD).read_text()
    (tmp_path / "saved.tsv").write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    assert read_sheet(tmp_path / "saved.tsv", ["flair"])["subject"].tolist() == ["sub-1", "sub-1"]


def test_excluded_scans_are_left_out_unread_and_named(write, caplog):
    gone = {"session": "ses-c", "days": "", "flair": "gone.nii.gz", "split": "nowhere", "exclude": "motion, run #2"}
    with caplog.at_level("INFO"):
        table = read_sheet(write([GOOD[0] | gone, *GOOD]), ["flair"])
    assert table["session"].tolist() == ["ses-a", "ses-b"]
    assert "exclude" not in table
    assert "leave out sub-1 ses-c: motion, run #2" in caplog.text


def test_change_that_counts_from_an_excluded_scan_is_emptied(write, caplog):
    masks = {"change_mask": "a.nii.gz", "lesion_mask": "b.nii.gz"}
    table = rows(
        {"exclude": ""},
        {"session": "ses-b", "days": "9", "exclude": "motion"} | masks,
        {"session": "ses-c", "days": "18", "exclude": ""} | masks,
        {"session": "ses-d", "days": "27", "exclude": ""} | masks,
        {"subject": "sub-2", "exclude": ""} | masks,
    )
    with caplog.at_level("INFO"):
        scans = read_sheet(write(table), ["flair"])
    assert scans["session"].tolist() == ["ses-a", "ses-c", "ses-d", "ses-a"]
    assert (scans["change_mask"] != "").tolist() == [False, False, True, True]
    assert (scans["lesion_mask"] != "").tolist() == [False, True, True, True]
    assert "leave out the change mask of sub-1 ses-c" in caplog.text


TEMPLATES = sorted((Path(__file__).parents[3] / "cohorts").glob("*.tsv"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_shipped_templates_are_sheets(template):
    contrasts = [name for name in CONTRASTS if name in template.read_text().splitlines()[0].split("\t")]
    table = read_sheet(template, contrasts, check_files=False)
    assert contrasts[0] == "flair"
    assert len(table) >= 2


@pytest.mark.skipif(SHARED is None, reason="MSDIFF_SHARED (a folder with data) is not set")
@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("open_ms", "open_ms_data"),
        ("open_ms_cross_sectional", "open_ms_data"),
        ("mslesseg", "mslesseg"),
    ],
)
def test_templates_name_real_files(tmp_path, name, folder):
    """With the data beside it, a template reads as it is."""
    (tmp_path / {"mslesseg": "MSLesSeg"}.get(folder, folder)).symlink_to(Path(str(SHARED)) / "data" / folder)
    (tmp_path / "scans.tsv").write_bytes((TEMPLATES[0].parent / f"{name}.tsv").read_bytes())
    assert len(read_sheet(tmp_path / "scans.tsv", ["flair", "t1w", "t2w"])) >= 2
