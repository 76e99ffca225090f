import pandas as pd
import pytest

from msdiff import backends
from msdiff.__main__ import main
from msdiff.cohort.phantom_settings import PhantomSettings
from msdiff.cohort.sheets import read_sheet, write_sheet
from msdiff.cohort.sources import SOURCES
from msdiff.cohort.sources.folders import natural
from msdiff.cohort.sources.listing import list_scans
from msdiff.settings import check


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_is_a_function(source):
    assert callable(backends.load(SOURCES, source))


def test_phantom_is_listed_before_it_is_drawn(values, tmp_path):
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
