import re
from pathlib import Path

import forecast_tables
import pandas as pd
import pytest

import msdiff.report
from msdiff.config_files import merged_config
from msdiff.report.methods import methods
from msdiff.report.run import Run
from msdiff.report.templates import fill

CONFIG = merged_config(size="paper")
TEMPLATES = sorted(
    path for name in ("methods.j2", "ablation.j2") for path in Path(msdiff.report.__file__).parent.rglob(name)
)


@pytest.fixture
def every_table(tables, ablation, privacy):
    return {**tables, "ablation": ablation, "privacy": privacy, "activity_prediction": forecast_tables.activity()}


def test_every_setting_that_is_named_is_in_the_config():
    """Each generator's template, in a folder of its name, knows its own section as `settings`."""
    n_sentences = 0
    for path in TEMPLATES:
        values = {**CONFIG, "name": "it", "sampled": ["slice"], "settings": CONFIG["synthesis"].get(path.parent.name)}
        for sentence in path.read_text(encoding="utf-8").splitlines():
            if "{{" in sentence:
                assert fill(sentence, values), (path, sentence)
                n_sentences += 1
    assert n_sentences > 10


def test_settings_stand_in_the_sentences(every_table):
    parts = dict(methods(Run(every_table, CONFIG, {})))
    training = CONFIG["synthesis"]["long_ms_diff"]["training"]
    assert "Long-MS-Diff is a diffusion model of single axial slices (FLAIR)" in parts["Generator"]
    assert f"{training['steps']} steps of {training['batch_size']} slices" in parts["Generator"]
    assert f"sampled in {CONFIG['synthesis']['sampler']['steps']} steps of" in parts["Generator"]
    assert f"{CONFIG['synthesis']['plan']['mass']['count']} follow-ups" in parts["Follow-ups"]
    assert "with 3 seeds on mixes" in parts["Detection"]
    steps = CONFIG["forecasting"]["control"]["training"]["steps"]
    assert f"in {steps} steps of 16 patients, as many active as inactive ones" in parts["Forecasts"]
    assert "bootstraps over patients at 95 %" in parts["Statistics"]
    assert "A small network was trained" in parts["Ablation"]
    assert not re.search(r"[{}]|settings|None", " ".join(parts.values()))


def test_the_grid_is_that_of_the_study(every_table):
    study = CONFIG["study"]
    own = {"shape": [40, 48, 44], "spacing_mm": [4.0, 4.0, 4.5], "centre_mm": [0.0, -18.0, 8.0]}
    config = CONFIG | {"cohort": CONFIG["cohort"] | {study: CONFIG["cohort"][study] | {"grid": own}}}
    before, after = (dict(methods(Run(every_table, values, {})))["Preprocessing"] for values in (CONFIG, config))
    assert "a grid of 256 \N{MULTIPLICATION SIGN} 256" in before
    assert "a grid of 40 \N{MULTIPLICATION SIGN} 48 \N{MULTIPLICATION SIGN} 44 voxels of 4 " in after


@pytest.mark.parametrize("key", ["tables", "detection"])
def test_what_a_run_lacks_is_left_out(every_table, key):
    config = {name: section for name, section in CONFIG.items() if name != key}
    titles = [title for title, _ in methods(Run(every_table, config, {}))]
    assert ("Statistics" in titles) == (key != "tables")
    assert ("Detection" in titles) == (key != "detection")


def test_a_system_that_did_not_run_has_no_methods():
    assert [title for title, _ in methods(Run({}, CONFIG, {}))] == ["Preprocessing", "Statistics"]
    forecasts = dict(methods(Run({"activity_prediction": forecast_tables.activity()}, CONFIG, {})))
    assert list(forecasts) == ["Preprocessing", "Forecasts", "Statistics"]


def renamed(table, name):
    return table[table["source"] == "msdiff"].replace("long_ms_diff", name)


def test_another_generator_is_not_described_as_long_ms_diff(tables):
    foreign = {name: renamed(table, "diffuse_net") for name, table in tables.items()}
    parts = dict(methods(Run(foreign, CONFIG, {})))
    assert parts["Generator"] == "diffuse net is a generator of slices that brought no description of itself."
    assert "Ablation" not in parts
    assert not re.search(r"Long-MS-Diff|single axial slices|auxiliary|DPM-Solver", " ".join(parts.values()))


def test_a_generator_of_volumes_is_not_scored_on_slices(tables):
    foreign = {name: renamed(table, "mine") for name, table in tables.items()}
    config = {**CONFIG, "synthesis": {**CONFIG["synthesis"], "mine": {"module": "mylab.mine", "item": "volume"}}}
    parts = dict(methods(Run(foreign, config, {})))
    assert parts["Generator"] == "mine is a generator of volumes that brought no description of itself."
    assert "slices" not in parts["Follow-ups"]
    assert "Images were scored on follow-ups of test patients." in parts["Follow-ups"]


def test_each_of_several_generators_has_its_own_words(tables):
    both = {name: pd.concat([table, renamed(table, "diffuse_net")]) for name, table in tables.items()}
    about = dict(methods(Run(both, CONFIG, {})))["Generator"]
    assert "Long-MS-Diff is a diffusion model of single axial slices" in about
    assert "diffuse net is a generator of slices that brought no description of itself." in about
    assert about.count("The training took") == 1


@pytest.mark.parametrize("value", [None, {}])
def test_a_sentence_with_a_value_that_is_missing_is_left_out(value):
    assert fill("It took {{ training.steps }} steps.", {"training": value}) == ""
    assert fill("It took {{ training.steps | listed }} steps.", {"training": {"steps": value or None}}) == ""
    assert fill("It took {{ training.steps }} steps.", {"training": {"steps": 0.5}}) == "It took 0.5 steps."
