import re

import forecast_tables
import pytest

from msdiff.config_files import merged_config
from msdiff.report.methods import PLACE, TEXT, fill, methods
from msdiff.report.run import Run

CONFIG = merged_config(size="paper")


def test_every_setting_that_is_named_is_in_the_config():
    sentences = [line for line in TEXT.read_text(encoding="utf-8").splitlines() if PLACE.search(line)]
    assert len(sentences) > 10
    for sentence in sentences:
        assert fill(sentence, Run({}, CONFIG, {}), "long_ms_diff"), sentence


def test_settings_stand_in_the_sentences():
    parts = dict(methods(Run({"activity_prediction": forecast_tables.activity()}, CONFIG, {})))
    training = CONFIG["synthesis"]["long_ms_diff"]["training"]
    assert f"{training['steps']} steps of {training['batch_size']} slices" in parts["Generator"]
    assert f"{CONFIG['synthesis']['plan']['mass']['count']} follow-ups" in parts["Follow-ups"]
    assert "with 3 seeds on mixes" in parts["Detection"]
    steps = CONFIG["forecasting"]["control"]["training"]["steps"]
    assert f"in {steps} steps of 16 patients, as many active as inactive ones" in parts["Forecasts"]
    assert "bootstraps over patients at 95 %" in parts["Statistics"]
    assert not re.search(r"[{}]|GENERATOR|None", " ".join(parts.values()))


@pytest.mark.parametrize("key", ["tables", "detection"])
def test_what_a_run_lacks_is_left_out(key):
    config = {name: section for name, section in CONFIG.items() if name != key}
    titles = [title for title, _ in methods(Run({}, config, {}))]
    assert ("Statistics" in titles) == (key != "tables")
    assert ("Detection" in titles) == (key != "detection")


def test_a_run_without_forecasts_tells_no_method_of_them():
    assert "Forecasts" not in dict(methods(Run({}, CONFIG, {})))
