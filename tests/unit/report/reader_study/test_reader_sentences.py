import pandas as pd

from msdiff.report.phrases import MINUS
from msdiff.report.systems import say


def test_real_and_synthetic_are_compared(reader_study, run_of):
    text = say("reader_study", run_of({"reader_study": reader_study})).replace(MINUS, "-")
    assert "Two readers rated follow-ups of Long-MS-Diff 4.1 [3.9, 4.4] for quality" in text
    assert "Quality differs by -0.2 [-0.4, -0.1] (synthetic less real): synthetic follow-ups were rated lower." in text
    assert "Plausibility differs by 0.05 [-0.3, 0.4] (synthetic less real); the interval holds 0." in text
    assert "Adherence differs by 0.3 [0.1, 0.5] (synthetic less real): synthetic follow-ups were rated higher." in text
    assert "Agreement between readers (as the table's caption defines it): 0.6 for quality" in text


def test_one_reader_agrees_with_nobody(reader_study, run_of):
    text = say("reader_study", run_of({"reader_study": reader_study.assign(readers=1)}))
    assert "One reader rated" in text
    assert "no measure of agreement" in text


def test_the_papers_reader_is_named_as_such(reader_study, run_of):
    paper = {
        "source": "paper",
        "reader": "all",
        "kind": "synthetic",
        "quality": 4.6,
        "plausibility": 4.2,
        "adherence": 4.0,
    }
    text = say("reader_study", run_of({"reader_study": pd.concat([reader_study, pd.DataFrame([paper])])}))
    assert "The paper's one radiologist gave 4.6 for quality, 4.2 for plausibility and 4 for adherence" in text
