from pathlib import Path

import pandas as pd
import pytest

from msdiff.errors import BadInput
from msdiff.reader_study.answers import (
    ANSWERS,
    COLUMNS,
    ImportSettings,
    check_answers,
    read_answers,
    read_key,
    study_of,
)
from msdiff.settings import check

KEY = pd.DataFrame(
    {
        "study": "study-00112233445566aa",
        "case": [1, 2, 3],
        "kind": ["real", "synthetic", "real"],
        "generator": ["", "long_ms_diff", ""],
        "subject": ["sub-1", "sub-1", "sub-1"],
        "baseline_row": 0,
        "follow_up_row": 1,
        "slice": [4, 9, 4],
        "repeat_of": [0, 0, 1],
    }
)
HEAD = ",".join(ANSWERS)
GOOD = (
    "Dr Ä,study-00112233445566aa,1,5,4,3,,12.5,2026-01-02T03:04:05Z\r\n"
    'Dr Ä,study-00112233445566aa,2,4,4,2,"sharp, ""odd""\r\n edge",9.0,2026-01-02T03:05:05Z\r\n'
    "Dr Ä,study-00112233445566aa,3,5,5,3,,3.0,2026-01-02T03:06:05Z\r\n"
)


def checked(tmp_path, *texts, incomplete="report", encoding="utf-8-sig"):
    files = {}
    for number, text in enumerate(texts):
        path = Path(tmp_path) / f"{number}.csv"
        path.write_bytes(f"{HEAD}\r\n{text}".encode(encoding))
        files[path] = read_answers(path)
    return check_answers(files, KEY, check(ImportSettings, {"incomplete": incomplete}))


def test_answers_are_joined_with_the_key(tmp_path):
    answers = checked(tmp_path, GOOD)
    assert list(answers.columns) == COLUMNS
    assert answers["kind"].tolist() == ["real", "synthetic", "real"]
    assert answers["adherence"].tolist() == [3, 2, 3]
    assert answers["seconds"].tolist() == [12.5, 9.0, 3.0]
    assert answers["comment"][1] == 'sharp, "odd" edge'


@pytest.mark.parametrize("mark", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252"])
def test_what_a_spreadsheet_saved_is_the_same(tmp_path, mark, encoding):
    expected = checked(tmp_path, GOOD)
    path = tmp_path / "again.csv"
    frame = read_answers(tmp_path / "0.csv")
    frame.to_csv(path, sep=mark, index=False, encoding=encoding)
    answers = check_answers({path: read_answers(path)}, KEY, check(ImportSettings, {"incomplete": "refuse"}))
    assert answers.equals(expected)


def test_two_readers_stand_together(tmp_path):
    answers = checked(tmp_path, GOOD, GOOD.replace("Dr Ä", "B"))
    assert answers["reader"].tolist() == ["b"] * 3 + ["dr ä"] * 3


BAD = {
    "no name": (GOOD.replace("Dr Ä", " "), "fill in the column reader"),
    "unknown case": (GOOD.replace(",3,5,5,3", ",7,5,5,3"), "expected cases from 1 to 3, got '7'"),
    "six": (GOOD.replace(",2,4,4,2", ",2,4,6,2"), "case 2, plausibility: expected a score from 1 to 5, got '6'"),
    "a half": (GOOD.replace(",1,5,4,3", ",1,4.5,4,3"), "case 1, quality: expected a score from 1 to 5, got '4.5'"),
    "a word": (GOOD.replace(",1,5,4,3", ",1,5,4,good"), "case 1, adherence: expected a score from 1 to 5, got 'good'"),
    "twice": (GOOD + GOOD.splitlines()[0], "got case 1 of dr ä twice"),
    "nothing": ("Dr Ä,study-00112233445566aa,1,,,,,0.0,\r\n", "expected at least one score"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_faults_are_told_in_one_line(tmp_path, text, message):
    with pytest.raises(BadInput, match=message):
        checked(tmp_path, text)


def test_the_same_reader_in_two_files_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"1\.csv: .*give only the newest file"):
        checked(tmp_path, GOOD, GOOD.replace("Dr Ä", "DR ä"))


def test_missing_scores_are_reported_or_refused(tmp_path, caplog):
    text = GOOD.replace(",2,4,4,2", ",2,4,,2").replace(",3,5,5,3", ",3,,,")
    answers = checked(tmp_path, text)
    assert answers["case"].tolist() == [1, 2]
    assert answers["plausibility"].isna().tolist() == [False, True]
    assert "dr ä: 2 of 3 cases without all three scores: 2, 3" in caplog.text
    with pytest.raises(BadInput, match="ask the reader to finish"):
        checked(tmp_path, text, incomplete="refuse")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", HEAD])
def test_what_is_no_file_of_answers_is_refused(tmp_path, text):
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(BadInput, match="take the file as the page saved it"):
        read_answers(path)
    with pytest.raises(BadInput, match="cannot read it"):
        read_answers(tmp_path / "none.csv")


def test_what_is_no_key_is_refused(tmp_path):
    study = KEY["study"][0]
    path = tmp_path / f"{study}.tsv"
    with pytest.raises(BadInput, match="no such key"):
        read_key(tmp_path, study)
    KEY.to_csv(path, sep="\t", index=False)
    assert read_key(tmp_path, study).equals(KEY)
    KEY.drop(columns="kind").to_csv(path, sep="\t", index=False)
    with pytest.raises(BadInput, match="export the study again"):
        read_key(tmp_path, study)


def test_answers_belong_to_one_study():
    def files(*studies):
        return {Path(f"{number}.csv"): pd.DataFrame({"study": [study]}) for number, study in enumerate(studies)}

    one, other = "study-00112233445566aa", "study-00112233445566bb"
    assert study_of(files(one, one)) == one
    with pytest.raises(BadInput, match=f"got {one} in 0.csv and {other} in 1.csv"):
        study_of(files(one, other))
    for wrong in ("", "../../etc/passwd"):
        with pytest.raises(BadInput, match="expected a study such as"):
            study_of(files(wrong))
