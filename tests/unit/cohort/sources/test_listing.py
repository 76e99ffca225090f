from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from msdiff import backends
from msdiff.__main__ import main
from msdiff.cohort.sheets import read_sheet, write_sheet
from msdiff.cohort.sources import SOURCES
from msdiff.cohort.sources.folders import natural
from msdiff.cohort.sources.listing import list_scans
from msdiff.images import Volume, save
from msdiff.phantom.settings import PhantomSettings
from msdiff.settings import check

TEMPLATES = Path(__file__).parents[4] / "cohorts"
DAYS = "patient_id,days_between_studies\n1,203\n3,671\n12,81\n"
SESSIONS = "session_id\tacq_time\nses-M00\t2020-01-10\nses-M12\t2021-01-14\n"
# By source: its folder in the template, its options, and the tables that the data set holds beside the images.
SHIPPED = {
    "open_ms": ("open_ms_data", {}, {"longitudinal/patient_info.csv": DAYS}),
    "open_ms_coregistered": ("open_ms_data", {}, {"longitudinal/patient_info.csv": DAYS}),
    "open_ms_cross_sectional": ("open_ms_data", {"variant": "MNI"}, {}),
    "mslesseg": ("MSLesSeg", {"interval_days": 365}, {}),
    "isbi2015": ("ISBI_2015", {"interval_days": 365}, {}),
    "msseg2": ("MSSEG-2", {"interval_days": 365}, {}),
    "bids": (
        "bids",
        {"arm_column": "treatment"},
        {
            "participants.tsv": "participant_id\ttreatment\nsub-01\tplacebo\nsub-02\ttreated\n",
            "sub-01/sub-01_sessions.tsv": SESSIONS,
            "sub-02/sub-02_sessions.tsv": SESSIONS,
        },
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_is_a_function(source):
    assert callable(backends.load(SOURCES, source))


def test_phantom_is_listed_before_it_is_simulated(values, tmp_path):
    options = {"settings": check(PhantomSettings, values), "contrasts": ["flair", "t1w"]}
    write_sheet(list_scans("phantom", tmp_path / "raw", options), tmp_path / "sheet.tsv")
    scans = read_sheet(tmp_path / "sheet.tsv", ["flair", "t1w"], check_files=False)
    assert len(scans) == 6 * 3
    assert scans["days"].tolist()[:3] == [0, 336, 672]
    assert scans["arm"].tolist()[0] == "placebo"
    assert scans["arm"].tolist()[-1] == "high_efficacy"
    assert scans["flair"][0] == str(tmp_path / "raw" / "sub-0001" / "ses-w000_flair.nii.gz")
    assert scans["change_mask"].tolist()[0] == ""
    assert scans["change_mask"].tolist()[1].endswith("ses-w048_change_mask.nii.gz")


def test_a_phantom_in_batches_is_listed_where_it_will_lie(values, tmp_path):
    options = {"contrasts": ["flair"], "patients_per_folder": 4}
    scanned = list_scans("phantom", tmp_path, options | {"settings": check(PhantomSettings, values)})
    assert scanned["brain_mask"].tolist()[4 * 3] == f"{tmp_path}/001/sub-0005/ses-w000_brain_mask.nii.gz"
    settings = check(PhantomSettings, values | {"space": "template"})
    scans = list_scans("phantom", tmp_path, options | {"settings": settings})
    folders = scans.groupby("subject")["flair"].first().str.removeprefix(f"{tmp_path}/").tolist()
    assert folders[3] == "000/registered/sub-0004/ses-w000_flair.nii.gz"
    assert folders[4] == "001/registered/sub-0005/ses-w000_flair.nii.gz"
    assert (scans["brain_mask"] == "").all()
    assert (scans["enhancing_mask"] != "").all()


def test_the_sheet_has_a_column_to_exclude_scans_by(tmp_path, touch):
    touch(tmp_path / "P1", "P1_FLAIR.nii.gz")
    command = ["index-scans", "--source", "mslesseg", "--root", str(tmp_path), "--out", str(tmp_path / "sheet.tsv")]
    assert main(command) == 0
    table = pd.read_csv(tmp_path / "sheet.tsv", sep="\t", keep_default_na=False)
    assert table["exclude"].tolist() == [""]
    assert table["flair"].tolist() == ["P1/P1_FLAIR.nii.gz"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--source", "open_ms", "--rater", "1"], "--rater: no option of the source open_ms, which takes no options"),
        (["--source", "mslesseg", "--arm-column", "drug"], "which takes --interval-days; leave it out"),
        (["--source", "msseg2"], "--interval-days: the source msseg2 needs it"),
        (["--source", "phantom"], "--settings: the source phantom needs it"),
    ],
)
def test_options_are_held_to_those_of_the_source(tmp_path, capsys, arguments, named):
    assert main(["index-scans", *arguments, "--root", str(tmp_path), "--out", str(tmp_path / "sheet.tsv")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert named in line
    assert not (tmp_path / "sheet.tsv").exists()


def test_numbers_in_names_sort_by_value():
    assert sorted(["M12", "M6", "M0", "screening"], key=natural) == ["M0", "M6", "M12", "screening"]


def test_every_public_source_ships_a_template():
    assert {path.stem for path in TEMPLATES.glob("*.tsv")} == set(SHIPPED) == set(SOURCES) - {"phantom"}


@pytest.mark.parametrize("source", SHIPPED)
def test_a_template_is_what_the_source_lists(source, tmp_path):
    root, options, tables = SHIPPED[source]
    template = pd.read_csv(TEMPLATES / f"{source}.tsv", sep="\t", dtype=str, keep_default_na=False)
    image = Volume(np.zeros((2, 2, 2), dtype=np.uint8), np.eye(4))
    for cell in template.to_numpy().ravel():
        if cell.startswith(f"{root}/"):
            save(image, tmp_path / cell) if ".nii" in cell else (tmp_path / cell).touch()
    for name, text in tables.items():
        (tmp_path / root / name).write_text(text)
    write_sheet(list_scans(source, tmp_path / root, options), tmp_path / "sheet.tsv")
    listed = pd.read_csv(tmp_path / "sheet.tsv", sep="\t", dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(listed.drop(columns="split"), template.drop(columns="split"))
