"""A part is a folder and a line: with it the report has its section, table, figure and sentences; without, nothing."""

from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure as Plot

import msdiff.report
from msdiff.report.figures import plot
from msdiff.report.page import report_page
from msdiff.report.parts import Figure, ReportPart, has_rows
from msdiff.report.pictures import Picture, save_picture
from msdiff.report.provenance import record
from msdiff.report.systems import PARTS

CONFIG = {"study": "phantom", "tables": {"confidence_level": 0.95}}
ROWS = pd.DataFrame({"source": ["msdiff"], "cohort": ["phantom"], "hits": [2]})


def plot_toy(table):
    return Picture(Plot(figsize=(1, 1)), "Hits", f"{len(table)} row.")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A system that guesses, with a folder of its own."""
    monkeypatch.setattr(import_module("msdiff.report.pictures"), "plot_toy", plot_toy, raising=False)
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "methods.j2").write_text("Guess\nA coin was tossed at {{ tables.confidence_level | percent }}.\n")
    return ReportPart(
        folder=folder,
        title="Guesses",
        ran=has_rows("guesses"),
        tables={"guesses": lambda run: f"Two of {len(run.ours('guesses'))} guesses hit."},
        figures={"guesses": Figure("A guess is a guess.", "msdiff.report.pictures:plot_toy", ("table/guesses",))},
        opening=lambda _: ["Somebody guessed."],
        summary={"Guessing": lambda _: ["Guessing is easy."]},
        limits=lambda _: ["A guess is no proof."],
        tested=lambda run: run.fewest("guesses", "guessing"),
        facts=lambda _: {"Guesser": "a coin"},
    )


def page_of(parts, tables, folder):
    figures = {}
    for name, picture in plot({f"table/{name}": table for name, table in tables.items()}, parts):
        save_picture(picture, folder / f"{name}.png")
        figures[name] = folder / f"{name}.png"
    return report_page(tables, figures, record(CONFIG), {}, parts=parts)


def test_a_part_brings_all_that_the_page_says_of_it(toy, tmp_path):
    html = page_of([*PARTS, toy], {"guesses": ROWS.assign(n=3)}, tmp_path)
    for text in (
        "Guesses</h2>",
        'id="table-guesses"',
        "Two of 1 guesses hit.",
        'id="figure-guesses"',
        "A guess is a guess.",
        "Somebody guessed.",
        "<strong>Guessing.</strong> Guessing is easy.",
        "A guess is no proof.",
        "3 guessing patients",
        "<dt>Guesser</dt><dd>a coin</dd>",
        "<strong>Guess.</strong> A coin was tossed at 95 %.",
    ):
        assert text in html, text
    assert "Further results" not in html


@pytest.mark.parametrize("listed", [True, False])
def test_a_part_that_is_left_out_or_did_not_run_leaves_nothing(toy, tmp_path, listed):
    html = page_of([*PARTS, toy] if listed else PARTS, {}, tmp_path)
    assert "uess" not in html
    assert "coin" not in html


def test_every_folder_of_the_report_with_a_part_is_listed():
    folders = {path.parent for path in Path(msdiff.report.__file__).parent.glob("*/part.py")}
    assert {part.folder for part in PARTS} == folders


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_figure_of_a_part_can_be_loaded(part):
    for figure in part.figures.values():
        assert not figure.function or callable(figure.load())
