import argparse
import base64
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import forecast_tables
import pandas as pd
import pytest
from indexed import stack_files

from msdiff.cli import report as command
from msdiff.config_files import merged_config
from msdiff.errors import BadInput
from msdiff.preprocess.quality import MEASURES
from msdiff.report.compute.figures import plot_histories
from msdiff.report.detection.figures import plot_augmentation
from msdiff.report.forecasting.charts import plot_activity
from msdiff.report.imaging.figures import plot_preprocessing
from msdiff.report.imaging.scans import ScanPart, ScanParts
from msdiff.report.page import Beside, report_page
from msdiff.report.page_tables import render_caption, shared_keys, table_rows
from msdiff.report.pictures import save_picture
from msdiff.report.provenance import record
from msdiff.report.synthesis.charts import plot_image_quality
from msdiff.report.synthesis.figures import plot_follow_ups
from msdiff.report.words import write
from msdiff.tables.layout import assemble, read_tables, write_table

CONFIG = {
    "study": "phantom",
    "preprocess": {"grid": {"shape": [64, 64, 24]}},
    "synthesis": {"scoring": {"ring_width_mm": 6.0}},
    "detection": {"seeds": [0], "scoring": {"min_lesion_volume_mm3": 9.0, "matcher": "overlap"}},
    "tables": {"confidence_level": 0.95, "bootstrap_resamples": 500, "bootstrap_seed": 7},
}


class Page(HTMLParser):
    """What a page holds: ids, images, anything that a browser would fetch, and tags left open."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text):
        super().__init__()
        self.ids, self.images, self.loads, self.open, self.links = set(), [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.add(values.get("id"))
        self.loads += [values[key] for key in ("src", "srcset", "data", "poster") if key in values]
        self.loads += [values.get("href", "")] if tag == "link" else []
        self.links += [values["href"]] if tag == "a" else []
        self.images += [values["src"]] if tag == "img" else []
        assert tag != "script"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="session")
def pictures(stack, shards, histories, tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    pictures = {
        "follow_ups": plot_follow_ups(stack, "flair", shards, 3),
        "image_quality": plot_image_quality(tables["image_quality"]),
        "augmentation": plot_augmentation(tables["augmentation"]),
        "preprocessing": plot_preprocessing(stack, "flair", 3),
        "losses": plot_histories(histories),
    }
    for name, picture in pictures.items():
        save_picture(picture, folder / f"{name}.png")
    return {name: folder / f"{name}.png" for name in pictures}


@pytest.fixture(scope="session")
def html(tables, pictures):
    return report_page(tables, pictures, record(CONFIG), {"train": 12, "validation": 3, "test": 4})


def test_the_page_holds_every_table_and_figure(html, tables, pictures):
    page = Page(html)
    assert {f"table-{name}" for name in tables} <= page.ids
    assert {f"figure-{name}" for name in pictures} <= page.ids
    assert len(page.images) == len(pictures)
    assert page.open == []


def test_nothing_is_loaded_from_elsewhere(html):
    page = Page(html)
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)
    assert "url(" not in style
    assert "@import" not in style
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)


def test_a_small_run_is_warned_of_at_the_top(html, tables, pictures):
    assert html.index("proves nothing") < html.index("<main>")
    large = {name: table.assign(n=30) if "n" in table else table for name, table in tables.items()}
    assert "proves nothing" not in report_page(large, pictures, record(CONFIG), {})


def test_the_run_is_summed_up(html):
    assert "12 train, 3 validation, 4 test" in html
    assert "18 patients with a follow-up" in html
    assert "0.07 summed over 19 jobs, 0 GPU hours" in html
    assert "tables.bootstrap_seed 7" in html


def test_conventions_are_printed(html):
    conventions = html[html.index('id="conventions"') :]
    for text in ("min_lesion_volume_mm3", "9.0", "matcher", "overlap", "26-connected", "empty masks"):
        assert text in conventions


def test_papers_rows_stand_under_ours_and_look_different(tables):
    heads, rows = table_rows(tables["augmentation"])
    assert heads[:4] == ["source", "architecture", "real : synthetic", "n"]
    assert [row.cohort for row in rows[:2]] == ["phantom", "Long-MS-Diff, internal"]
    marks = [(row.cells[1].text, row.cells[2].text, row.is_paper) for row in rows[:6]]
    vit = "ViT (ResNet-50)"
    assert marks == [(vit, f"1:{share}", paper) for share in (0, 1, 2) for paper in (False, True)]
    assert len(rows) == len(tables["augmentation"])


def test_without_a_paper_the_source_is_told_once(tables, html):
    heads, _ = table_rows(tables["image_quality"])
    assert heads[:2] == ["generator", "region"]
    assert "All rows: this run, cohort phantom." in html


def test_links_lead_to_the_files_beside_the_page(tables, pictures):
    beside = Beside(
        {name: f"tables/{name}.csv" for name in [*tables, "lesions"]},
        {"reader_study": {"page for readers": "reader_study/phantom/reader/reader_study.html"}},
        {"model card": "model_card.md", "datasheet": "datasheet.md"},
    )
    page = report_page(tables, pictures, record(CONFIG), {}, beside=beside)
    links = {link for link in Page(page).links if not link.startswith("#")}
    assert {"tables/augmentation.csv", "tables/lesions.csv", "model_card.md", "datasheet.md"} <= links
    readers = page[page.index('id="reader-study"') :]
    assert 'href="reader_study/phantom/reader/reader_study.html"' in readers
    assert "No reader" in readers
    detection = page[page.index('id="detection-of-new-lesions"') : page.index('id="reader-study"')]
    assert "lesions.csv: every true and predicted lesion" in detection


def test_figures_of_each_generator_stand_in_their_section(tables, pictures):
    several = {f"privacy_similarities/{name}": pictures["losses"] for name in ("first", "second")}
    page = report_page(tables, {**pictures, **several}, record(CONFIG), {})
    privacy = page[page.index('id="privacy"') : page.index('id="training-and-compute"')]
    assert 'id="figure-privacy_similarities-first"' in privacy
    assert privacy.count("not a proof of copying") == 2
    assert "Further results" not in page


def test_another_generator_is_not_described_as_long_ms_diff(tables, pictures):
    foreign = {
        name: table[table["source"] == "msdiff"].replace("long_ms_diff", "diffuse_net")
        for name, table in tables.items()
    }
    chosen = merged_config(size="paper")
    plotted = {"augmentation": pictures["augmentation"]}
    html = report_page(foreign, plotted, record(chosen), {})
    said, settings = html.split("All settings", 1)
    # Captions name the paper that rows marked as a paper's are from.
    said = re.sub("(table 1|training) of Long-MS-Diff", "", said)
    assert "diffuse net was trained on the training patients" in said
    assert "diffuse net is a generator of slices that brought no description of itself." in said
    assert not re.search(r"Long-MS-Diff|diffusion model of single|the auxiliary bi-temporal UNet counts", said)
    assert "synthesis.long_ms_diff.training.steps" in settings


def test_headings_stand_in_their_order(html):
    levels = [int(level) for level in re.findall(r"<h([1-6])", html)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    numbers = [int(number) for number in re.findall(r"<h2>(\d+) ", html)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert "Detection of new lesions" in html


def test_every_picture_has_words_instead(html):
    assert all(re.findall(r'<img [^>]*alt="([^"]*)"', html))
    assert html.count("<img ") == len(re.findall(r'<img [^>]*alt="[^"]+"', html))


def test_a_wide_table_has_all_its_columns_below(tables, html):
    part = html[html.index('id="table-augmentation"') : html.index('id="figure-augmentation"')]
    main, whole = part.split("The whole table")
    assert "expected cost</th>" not in main
    assert "expected cost</th>" in whole
    assert "0.240\N{EN DASH}0.360" in main


def test_of_a_long_table_some_rows_stand_on_the_page(tables, pictures, tests_table):
    several = pd.concat([tests_table, tests_table.assign(metric="lesion_f2")])
    config = merged_config(size="paper")
    html = report_page({**tables, "augmentation_tests": several}, pictures, record(config), {})
    main, whole = html[html.index('id="table-augmentation_tests"') :].split("The whole table", 1)
    assert "lesion F1</td>" in main
    assert "lesion F2</td>" not in main
    assert "lesion F2</td>" in whole


def test_an_estimate_shares_its_cell_with_its_interval(tables):
    heads, rows = table_rows(tables["augmentation"])
    assert "dice lo" not in heads
    ours, paper = rows[0].cells[heads.index("dice")], rows[1].cells[heads.index("dice")]
    assert (ours.text, ours.interval) == ("0.300", "0.240\N{EN DASH}0.360")
    assert (paper.text, paper.interval) == ("0.245", "")


def test_what_all_rows_share_is_told_once(tables, html):
    assert shared_keys(tables["augmentation"]) == {"generator": "long_ms_diff"}
    assert shared_keys(tables["image_quality"]) == {"cohort": "phantom"}
    assert "All rows: generator Long-MS-Diff." in html
    two = pd.concat([tables["augmentation"], tables["augmentation"].assign(generator="other")])
    assert shared_keys(two) == {}


def test_counts_are_whole_and_rates_have_three_digits(tables):
    heads, rows = table_rows(tables["augmentation"])
    shown = {head: cell.text for head, cell in zip(heads, rows[1].cells, strict=True)}
    assert (shown["correct"], shown["n"], shown["recall"]) == ("47", "30", "0.360")
    assert shown["false positives per patient"] == "10.2"


def test_columns_without_a_value_are_not_shown(tables):
    heads, _ = table_rows(tables["cohort"][tables["cohort"]["source"] == "msdiff"])
    assert "mean new lesions, w096" not in heads
    assert "mean new lesions, w048" in heads


def test_markup_in_data_is_text(tables, pictures):
    tables = {**tables, "cohort": tables["cohort"].replace("phantom", "<script>alert(1)</script>")}
    html = report_page(tables, pictures, record(CONFIG), {})
    assert "<script>" not in html


def test_a_further_table_is_shown_too(tables, pictures):
    further = pd.DataFrame({"source": ["msdiff"], "cohort": ["phantom"], "flagged": [2]})
    html = report_page({**tables, "horoscope": further}, pictures, record(CONFIG), {})
    assert "table-horoscope" in Page(html).ids
    assert "8 Further results" not in html
    assert "6 Further results" in html


@pytest.mark.parametrize("name", ["augmentation", "image_quality", "cohort", "quality", "compute"])
def test_captions_are_filled_with_the_settings(name):
    caption = render_caption(name, CONFIG)
    assert "A row is" in caption
    assert "{{" not in caption
    assert ("95 % percentile" in caption) == (name != "compute")


@pytest.fixture
def scans():
    data = base64.b64encode(b"picture").decode()
    return ScanParts(
        [
            ScanPart("sub-1 ses-2", "SNR 4 (at least 10)", "preprocessed/phantom/quality/sub-1/ses-2.png", data),
            ScanPart("sub-1 ses-1", "", "preprocessed/phantom/quality/sub-1/ses-1.png", ""),
        ],
        [("sub-9 ses-1", "head moved")],
    )


def test_scans_are_shown_worst_first_and_the_others_linked(tables, pictures, scans):
    html = report_page(tables, pictures, record(CONFIG), {}, scans)
    page = Page(html)
    assert "scan-sub-1-ses-2" in page.ids
    assert len(page.images) == len(pictures) + 1
    assert [link for link in page.links if not link.startswith("#")] == [scan.link for scan in scans.scans]
    run = html[html.index('id="run"') : html.index('id="cohort"')]
    assert "1 of 2, worst first. sub-1 ses-2: SNR 4 (at least 10)" in run
    assert "sub-9 ses-1: head moved" in run
    assert page.open == []


def quality_options(folder):
    """A table of two scans, their pictures, a sheet and the record of a run that judged them."""
    config = merged_config(size="paper")
    (folder / "provenance.json").write_text(json.dumps(record(config)))
    (folder / "sheet.tsv").write_text("subject\tsession\texclude\nsub-1\tses-1\t\nsub-9\tses-1\thead moved\n")
    measures = dict.fromkeys(MEASURES, 1.0) | {"snr": 30.0, "brain_ml": 1200.0, "template_nmi": 1.05}
    rows = [
        {"cohort": "phantom", "subject": "sub-1", "session": "ses-1", **measures, "score": 1.1, "flag": ""},
        {"cohort": "phantom", "subject": "sub-1", "session": "ses-2", **measures, "score": 0.4, "flag": "too dark"},
    ]
    for row in rows:
        path = folder / "quality/sub-1" / f"{row['session']}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture of " + row["session"].encode())
    return assemble(rows, [], ["cohort", "subject", "session", *MEASURES, "score", "flag"])


def run_report(tables_folder, pictures, folder, *more):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    options = ["--tables", *sorted(tables_folder.glob("*.csv")), "--figures", next(iter(pictures.values())).parent]
    options += ["--provenance", folder / "provenance.json", "--out", folder / "report.html", *more]
    command.run(parser.parse_args([str(option) for option in options]))
    return (folder / "report.html").read_text()


def test_command_sums_up_the_scans_and_shows_them(tables, pictures, tmp_path):
    write_table(quality_options(tmp_path), tmp_path / "tables/quality.csv")
    html = run_report(tmp_path / "tables", pictures, tmp_path, "--pictures", tmp_path / "quality", "--sheet",
                      tmp_path / "sheet.tsv")  # fmt: skip
    assert "sub-9 ses-1: head moved" in html
    assert "1 of 2, worst first. sub-1 ses-2: too dark" in html
    table = html[html.index('id="table-quality"') :]
    assert "brain volume, ml" in table
    assert "800 to 2300" in table
    assert table.index(base64.b64encode(b"picture of ses-2").decode()) < table.index(
        base64.b64encode(b"picture of ses-1").decode()
    )
    assert 'href="quality/sub-1/ses-1.png"' in table


def test_command_wants_pictures_and_sheet_beside_the_table_of_quality(pictures, tmp_path):
    write_table(quality_options(tmp_path), tmp_path / "tables/quality.csv")
    with pytest.raises(BadInput, match="--pictures and --sheet"):
        run_report(tmp_path / "tables", pictures, tmp_path, "--pictures", tmp_path / "quality")


def test_command_writes_the_page(tables_folder, pictures, stack_folder, tmp_path):
    (tmp_path / "provenance.json").write_text(json.dumps(record(CONFIG)))
    folder = next(iter(pictures.values())).parent
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    options = [
        "--tables",
        *sorted(tables_folder.glob("*.csv")),
        "--figures",
        folder,
        "--provenance",
        tmp_path / "provenance.json",
    ]
    options += [
        "--stack",
        *stack_files(stack_folder),
        "--out",
        tmp_path / "report.html",
        "--cards",
        tmp_path / "model_card.md",
    ]
    options += ["--reader-pages", tmp_path / "reader_study/phantom/reader/reader_study.html"]
    options += ["--privacy-figures", f"long_ms_diff={folder}"]
    command.run(parser.parse_args([str(option) for option in options]))
    page = (tmp_path / "report.html").read_text()
    assert "2 train, 1 validation, 1 test" in page
    assert '<a href="model_card.md">model card</a>' in page
    assert '<a href="reader_study/phantom/reader/reader_study.html">page for readers, phantom</a>' in page
    assert 'id="figure-privacy_losses-long_ms_diff"' in page
    assert Page(page).open == []


def test_a_generators_pictures_want_its_name(tables_folder, pictures, tmp_path):
    (tmp_path / "provenance.json").write_text(json.dumps(record(CONFIG)))
    with pytest.raises(BadInput, match="expected GENERATOR=FOLDER"):
        run_report(tables_folder, pictures, tmp_path, "--privacy-figures", tmp_path)


def test_a_missing_table_is_an_error(tmp_path):
    with pytest.raises(BadInput, match=r"gone\.csv: expected a table in CSV"):
        read_tables([tmp_path / "gone.csv"])


def test_forecasts_have_a_section_of_their_own(tables, pictures, tmp_path):
    """A run without forecasts has a whole page (the other tests); with them the section stands before privacy."""
    made = forecast_tables.all_tables()
    pages = tmp_path / "activity_prediction.png"
    save_picture(plot_activity(made["activity_prediction"]), pages)
    forecasting = merged_config(size="paper")["forecasting"]
    config = {**CONFIG, "forecasting": forecasting}
    html = report_page({**tables, **made}, {**pictures, "activity_prediction": pages}, record(config), {})
    page = Page(html)
    assert {f"table-{name}" for name in made} | {"figure-activity_prediction"} <= page.ids
    assert "Forecasts of new lesions under treatment</h2>" in html
    assert "Further results" not in html
    assert page.open == []


def test_the_papers_forecasts_stand_under_ours():
    heads, rows = table_rows(forecast_tables.activity())
    place = [heads.index(name) for name in ("arm", "method")]
    marks = [(*(row.cells[i].text for i in place), row.is_paper) for row in rows[:4]]
    net2, chance = write("net2"), write("monte_carlo")
    assert marks == [
        *(("placebo", method, paper) for method in (net2, chance) for paper in (False, True)),
    ]


def test_patients_of_two_cohorts_are_not_added_up(tables, pictures):
    cohort = tables["cohort"]
    other = cohort[cohort["source"] == "msdiff"].assign(cohort="trials", n=30)
    config = {**CONFIG, "forecasting": merged_config(size="paper")["forecasting"]}
    both = {"cohort": pd.concat([cohort, other]), "activity_prediction": forecast_tables.activity()}
    html = report_page({**tables, **both}, pictures, record(config), {})
    assert "phantom: 18 patients with a follow-up" in html
    assert "trials: 30 patients with a follow-up" in html
    assert "In phantom 18 patients have" in html
