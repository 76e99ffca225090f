"""Texts of the command line become what the schema takes, and a fault is told in one line."""

import json
from pathlib import Path

import pytest

from msdiff.config_check import coerced, fault, refuse_dotted_keys, texts_of
from msdiff.config_files import laid_over, merged_config
from msdiff.errors import BadSettings

SCHEMA = json.loads((Path(__file__).parents[2] / "workflow/schemas/config.schema.json").read_text())
CONFIG = merged_config(size="paper")


def told(argument):
    """The fault of the config with one value of the command line."""
    return fault(laid_over(CONFIG, coerced(texts_of([argument]), SCHEMA)), SCHEMA)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("detection={seeds: [5]}", {"detection": {"seeds": [5]}}),
        ('detection={"seeds": [5, 6]}', {"detection": {"seeds": [5, 6]}}),
        ("tables={confidence_level: 0.9}", {"tables": {"confidence_level": 0.9}}),
        (
            "forecasting={prior: {training: {learning_rate: 1e-3}}}",
            {"forecasting": {"prior": {"training": {"learning_rate": 0.001}}}},
        ),
        (
            "reader_study={export: {both_of_a_slice: true}}",
            {"reader_study": {"export": {"both_of_a_slice": True}}},
        ),
        ("cohort={own: {sheet: null}}", {"cohort": {"own": {"sheet": None}}}),
        (
            "preprocess={quality: {limits: {snr: [9, null]}}}",
            {"preprocess": {"quality": {"limits": {"snr": [9, None]}}}},
        ),
        ("forecasting={regional: {threshold: 0.5}}", {"forecasting": {"regional": {"threshold": 0.5}}}),
        ("forecasting={regional: {threshold: tuned}}", {"forecasting": {"regional": {"threshold": "tuned"}}}),
        ("synthesis={ablation: {variants: {own: null}}}", {"synthesis": {"ablation": {"variants": {"own": None}}}}),
        (
            "synthesis={ablation: {variants: {own: {dropout: {baseline: 0.2}}}}}",
            {"synthesis": {"ablation": {"variants": {"own": {"dropout": {"baseline": 0.2}}}}}},
        ),
        ("study=phantom", {"study": "phantom"}),
        # Options of a backend of one's own have no schema: as in a file.
        (
            "preprocess={bias: {'own.module:correct': {strength: 5, mode: soft}}}",
            {"preprocess": {"bias": {"own.module:correct": {"strength": 5, "mode": "soft"}}}},
        ),
    ],
)
def test_a_text_becomes_what_the_schema_takes(argument, value):
    assert coerced(texts_of([argument]), SCHEMA) == value
    assert told(argument) is None


def test_a_text_of_digits_stays_text_where_text_is_expected():
    assert coerced({"study": "2024"}, SCHEMA) == {"study": "2024"}


def test_what_may_be_text_or_a_number_is_refused():
    with pytest.raises(BadSettings, match=r"size: '5' may be text or 5; give it in a file"):
        coerced({"size": "5"}, {"properties": {"size": {"type": ["string", "integer"]}}})


def test_several_arguments_are_read_and_the_last_of_a_key_wins():
    assert texts_of(["size=demo", "study=own", "size=paper"]) == {"size": "paper", "study": "own"}


def test_what_is_no_yaml_is_refused():
    with pytest.raises(BadSettings, match="expected KEY=VALUE"):
        texts_of(["detection={seeds: [5}"])


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("study=", "study: expected text, got null"),
        ("detection={seeds: [x]}", "detection.seeds.0: expected a whole number, got 'x'"),
        ("detection={seeds: 5}", "detection.seeds: expected a list, got '5'"),
        ("detection=", "detection: expected keys with values, got null"),
        ("tables={bootstrap_resamples: 2.5}", "tables.bootstrap_resamples: expected a whole number, got '2.5'"),
        ("tables={confidence_level: 2}", "tables.confidence_level: expected less than 1, got 2"),
        (
            "preprocess={registration: {backend: gredy}}",
            "preprocess.registration.backend: expected one of greedy, ants, plain, MODULE:FUNCTION of your own, "
            "got 'gredy'; did you mean 'greedy'?",
        ),
        (
            "synthesis={ablation: {variants: {own: {auxiliary: {balance: {backend: kendal}}}}}}",
            "synthesis.ablation.variants.own.auxiliary.balance.backend: expected one of kendall, ema_ratio, "
            "gradient_norm, fixed, MODULE:FUNCTION of your own, got 'kendal'; did you mean 'kendall'?",
        ),
        (
            "forecasting={regional: {threshold: tunde}}",
            "forecasting.regional.threshold: expected one of tuned, a number, got 'tunde'; did you mean 'tuned'?",
        ),
        (
            "synthesis={ablation: {variants: {own: 5}}}",
            "synthesis.ablation.variants.own: expected keys with values or null, got '5'",
        ),
        (
            "cohort={own: {parcellation: tmplate}}",
            "cohort.own.parcellation: expected one of template, null, got 'tmplate'; did you mean 'template'?",
        ),
        (
            "synthesis={sampeler: {steps: 5}}",
            "synthesis: unknown key 'sampeler'; did you mean 'sampler'? One of your own has the keys module, item",
        ),
        (
            "preprocess={quality: {limits: {snrr: [9, null]}}}",
            "preprocess.quality.limits: expected one of slice_mm, coverage",
        ),
        ("detection={sedes: [5]}", "detection: unknown key 'sedes'; did you mean 'seeds'?"),
        (
            "detection.seeds=[5]",
            "(top level): unknown key 'detection.seeds'; keys are nested: "
            "--config 'detection={seeds: VALUE}', or so in a file",
        ),
        (
            "synthesis={long_ms_diff.training.steps: 5}",
            "synthesis: unknown key 'long_ms_diff.training.steps'; keys are nested: "
            "--config 'synthesis={long_ms_diff: {training: {steps: VALUE}}}', or so in a file",
        ),
    ],
)
def test_a_fault_names_the_key_what_was_expected_and_what_came(argument, line):
    assert told(argument).startswith(line)


@pytest.mark.parametrize("name", ["my cohort", "a/b", "a.b", "{a}", "ä"])
def test_a_name_of_a_cohort_that_no_path_can_hold_is_refused(name):
    config = laid_over(CONFIG, {"cohort": {name: CONFIG["cohort"]["own"]}})
    assert fault(config, SCHEMA) == f"cohort: expected a name of letters, digits, - and _, got {name!r}"


def test_a_key_that_yaml_reads_as_no_text_is_told():
    assert fault({"cohort": {2024: {}}}, SCHEMA) == "cohort: expected text as a key, got 2024; put it in quotes"


def test_the_first_missing_key_is_told():
    assert fault({"partitions": {}}, {"required": ["partitions", "nodes"]}) == "(top level): missing key 'nodes'"


def test_a_dotted_key_of_the_command_line_is_answered_with_the_nested_form(capsys):
    words = ["snakemake", "-n", "--config", "size=demo", "synthesis.long_ms_diff.seed=5", "--", "all"]
    with pytest.raises(SystemExit) as ended:
        refuse_dotted_keys(words)
    assert ended.value.code == 2
    line = "--config synthesis.long_ms_diff.seed=5: keys are nested: --config 'synthesis={long_ms_diff: {seed: 5}}'"
    assert capsys.readouterr().err == f"msdiff: error: {line}\n"


@pytest.mark.parametrize(
    "words", ["--config size=demo", "--configfile a.b.yaml", "--config a={b.c: 1}", "-- a.b=1", ""]
)
def test_other_words_of_the_command_line_pass(words):
    refuse_dotted_keys(words.split())
