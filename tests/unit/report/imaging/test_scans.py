import base64

import numpy as np
import pandas as pd
import pytest

from msdiff.errors import BadInput
from msdiff.report.imaging.scans import excluded_scans, scan_parts
from msdiff.report.imaging.sentences import about_excluded_scans, about_flagged_scans

SHEET = pd.DataFrame({"subject": ["sub-1", "sub-9"], "session": "ses-1", "exclude": [np.nan, "moved in the scanner"]})


@pytest.fixture
def table():
    rows = [
        ("sub-1", "ses-1", 1.3, np.nan),
        ("sub-1", "ses-2", 0.4, "SNR 4 (at least 10)"),
        ("sub-2", "ses-1", 1.1, ""),
        ("sub-2", "ses-2", 0.9, "brain volume 700 ml (at least 800)"),
    ]
    return pd.DataFrame(rows, columns=["subject", "session", "score", "flag"])


@pytest.fixture
def pictures(table, tmp_path):
    batches = [tmp_path / "preprocessed/phantom/quality" / batch for batch in ("000", "001")]
    for scan in table.itertuples():
        path = batches[scan.subject == "sub-2"] / scan.subject / f"{scan.session}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{scan.subject} {scan.session}".encode())
    return batches


def test_worst_come_first_and_some_are_shown(table, pictures, tmp_path):
    parts = scan_parts(table, pictures, tmp_path / "report.html", 3, SHEET)
    assert [scan.name for scan in parts.scans] == ["sub-1 ses-2", "sub-2 ses-2", "sub-2 ses-1", "sub-1 ses-1"]
    assert [base64.b64decode(scan.data).decode() for scan in parts.scans] == [
        *("sub-1 ses-2", "sub-2 ses-2", "sub-2 ses-1", "")
    ]
    assert parts.scans[0].link == "preprocessed/phantom/quality/000/sub-1/ses-2.png"
    assert [scan.name for scan in parts.flagged] == ["sub-1 ses-2", "sub-2 ses-2"]


def test_flagged_and_excluded_are_named(table, pictures, tmp_path):
    parts = scan_parts(table, pictures, tmp_path / "report.html", 0, SHEET)
    text = about_flagged_scans(parts)
    assert text.startswith("2 of 4, worst first. sub-1 ses-2: SNR 4 (at least 10); sub-2 ses-2: brain volume 700 ml")
    assert "column exclude of the sheet" in text
    assert about_excluded_scans(parts) == "sub-9 ses-1: moved in the scanner"
    good = scan_parts(table.assign(flag=np.nan), pictures, tmp_path / "report.html", 0, SHEET.drop(columns="exclude"))
    assert about_flagged_scans(good) == "none of 4"
    assert about_excluded_scans(good) == "none"


def test_a_sheet_without_the_column_excludes_nothing():
    assert excluded_scans(SHEET.drop(columns="exclude")) == []
    assert excluded_scans(SHEET) == [("sub-9 ses-1", "moved in the scanner")]


def test_a_missing_picture_is_an_error(table, pictures, tmp_path):
    (pictures[1] / "sub-2/ses-1.png").unlink()
    with pytest.raises(BadInput, match=r"ses-1\.png: no such picture; run check_quality for sub-2 again"):
        scan_parts(table, pictures, tmp_path / "report.html", 1, SHEET)
