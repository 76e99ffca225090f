import re
from pathlib import Path

import forecast_cases
import forecast_tables
import pandas as pd
import pytest
from indexed import open_slabs

from msdiff.report import cards
from msdiff.report.cards import UNANSWERED, datasheet, model_card
from msdiff.report.parts import ReportPart
from msdiff.report.phrases import estimate
from msdiff.report.record import Weights
from msdiff.report.systems import PARTS

# The parts of MI-CLAIM-GEN, after what a model card begins with.
HEADINGS = [
    "Model",
    "Study design (Part 1)",
    "Resources and optimization (Parts 2, 3)",
    "Model performance and evaluation (Part 4)",
    "Model examination (Part 5)",
    "Reproducibility (Part 6)",
]


@pytest.fixture
def all_tables(tables, ablation, tests_table, sizes, privacy, reader_study):
    further = {"ablation": ablation, "augmentation_tests": tests_table, "lesion_sizes": sizes}
    return {**tables, **further, "privacy": privacy, "reader_study": reader_study}


def answer(card, question):
    """What stands after a question."""
    return re.search(rf"^\*\*{re.escape(question)}\*\* (.*)$", card, re.MULTILINE)[1]


def test_every_heading_of_the_checklist_is_there(all_tables, record_of):
    card = model_card(record_of(all_tables))
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == HEADINGS


@pytest.mark.parametrize("write", [model_card, datasheet])
def test_every_question_is_a_paragraph_of_its_own(all_tables, record_of, write):
    assert not re.findall(r"[^\n]\n\*\*.*", write(record_of(all_tables)))


def test_every_number_is_that_of_its_table(all_tables, record_of):
    card = model_card(record_of(all_tables))
    for name, metrics in (
        ("image_quality", ["mae", "ms_ssim", "lesion_contrast_ratio", "adherence_dice"]),
        ("augmentation", ["dice", "lesion_recall", "lesion_f1", "false_positives_per_patient"]),
    ):
        table = all_tables[name]
        ours = table[table["source"] == "msdiff"]
        lines = [line for line in card.splitlines() if line.startswith("| ")]
        for _, row in ours.iterrows():
            shown = [estimate(row, metric) for metric in metrics if row[metric] == row[metric]]
            assert any(all(f"| {cell} |" in line for cell in shown) for line in lines), (name, shown)
    # The papers' rows are not the run's.
    assert "| 0.245 |" not in card


def test_what_the_record_does_not_hold_is_not_answered(tables, record_of):
    card = model_card(record_of({"cohort": tables["cohort"]}))
    for question in (
        "Age, sex, disease course, scanners.",
        "Privacy and memorisation.",
        "Harms: who was asked, and what was found.",
        "Where weights and data can be had, and under what licence.",
    ):
        assert answer(card, question) == UNANSWERED
    assert "not among this run's tables" in answer(card, "Independence of training and test data.")


def test_a_system_that_did_not_run_is_not_in_the_card(tables, record_of):
    card = model_card(record_of({"cohort": tables["cohort"]}))
    assert "Use for detection." not in card
    assert "slices alone" not in card
    forecasts_only = record_of({"cohort": tables["cohort"], **forecast_tables.all_tables()})
    card = model_card(forecasts_only._replace(generators={}, manifests={}))
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == HEADINGS
    assert not re.search(r"Long-MS-Diff|enerated|follow-ups", card)


@pytest.mark.parametrize("write_card", [model_card, datasheet])
def test_another_generator_is_not_described_as_long_ms_diff(all_tables, record_of, write_card):
    foreign = {
        name: table[table["source"] == "msdiff"].replace("long_ms_diff", "diffuse_net")
        for name, table in all_tables.items()
        if name != "ablation"
    }
    record = record_of(foreign)
    manifest = record.manifests["long_ms_diff"].assign(generator="diffuse_net").drop(columns="sampler")
    card = write_card(
        record._replace(
            generators={"diffuse_net": record.generators["long_ms_diff"]}, manifests={"diffuse_net": manifest}
        )
    )
    assert "diffuse net" in card
    assert not re.search(
        r"Long-MS-Diff|[Aa] diffusion model|slices of FLAIR|axial|one by one|foundation|DPM|UNet of", card
    )
    if write_card is model_card:
        about = answer(card, "diffuse net.")
        assert about.startswith("A generator that brought no description of itself, 637185 parameters, weights SHA-256")
        assert answer(card, "Start of the training.") == UNANSWERED
    else:
        assert answer(card, "By which generator (diffuse net)?") == f"Weights SHA-256 `{'a' * 64}`."


def test_a_part_answers_the_cards_by_its_own_template(tables, record_of, tmp_path):
    macro = '{% macro model() %}{{ item("Coin.", "It has " ~ sides ~ " sides.") }}{% endmacro %}'
    (tmp_path / "card.md.j2").write_text(macro)
    toy = ReportPart(folder=tmp_path, title="Guesses", ran=lambda _: True, card=lambda _: {"sides": 2})
    assert answer(model_card(record_of(tables), [*PARTS, toy]), "Coin.") == "It has 2 sides."
    for parts in (PARTS, [*PARTS, toy._replace(ran=lambda _: False)]):
        assert "Coin." not in model_card(record_of(tables), parts)


def test_ethics_are_answered_for_simulated_patients_only(tables, record_of):
    question = "Ethics approval and consent."
    assert "no patient was scanned" in answer(model_card(record_of(tables)), question)
    real = model_card(record_of(tables, sheet="scans.tsv"))
    assert answer(real, question) == UNANSWERED
    assert "simulated" not in real


def test_leakage_is_counted(tables, privacy, record_of):
    question = "Independence of training and test data."
    assert "0 held-out patients gave" in answer(model_card(record_of({**tables, "privacy": privacy})), question)
    leaked = model_card(record_of({**tables, "privacy": privacy.assign(leaked_patients=1)}))
    assert "1 held-out patient gave" in answer(leaked, question)


def test_the_run_can_be_found_again(tables, record_of):
    record = record_of(tables)
    card = model_card(record)
    assert record.provenance["config_sha256"] in answer(card, "Code.")
    assert "`tables.bootstrap_seed` 20250701" in answer(card, "Seeds.")
    held = answer(card, "Data, weights and tables by their SHA-256.")
    assert f"preprocessed scans `{'b' * 64}`; tables augmentation `{'c' * 64}`." == held
    assert f"637185 parameters, weights SHA-256 {'a' * 64}" in card


def test_no_patient_is_named(all_tables, record_of, stack):
    card = model_card(record_of(all_tables))
    assert not re.search(r"sub-\w+|ses-\w+", card)
    assert not any(subject in card for subject in stack.scans["subject"])


@pytest.fixture
def with_forecasts(record_of, tables, tmp_path):
    """A record with forecasters, and all tables of forecasts."""
    forecast_cases.write_slabs(tmp_path / "slabs")
    run = record_of({**tables, **forecast_tables.all_tables()})
    arms, channels = forecast_cases.ARMS, ["flair@w000", "lesion_mask@w000"]
    prior = {"sessions": forecast_cases.SESSIONS, "shape": list(forecast_cases.SHAPE), "arms": arms}
    weights = Weights({"model": "two_sessions", "channels": channels, "prior": prior}, 4321, "d" * 64)
    return run._replace(forecasters={"two_sessions": weights}, slabs=open_slabs(tmp_path / "slabs"))


def test_a_forecaster_is_told_with_its_patients_and_limits(with_forecasts):
    card = model_card(with_forecasts)
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == HEADINGS
    about = answer(card, "Forecaster (two sessions).")
    assert "from w048 to w096 in a slab of 48 x 56 x 5 voxels, under one of 3 treatments" in about
    assert "FLAIR at w000 and lesion mask at w000" in about
    assert f"4321 parameters, weights SHA-256 {'d' * 64}." in about
    assert "No clinical use of any kind" in answer(card, "Not intended for forecasts.")
    assert "simulated patients" in answer(card, "Known limits of forecasts.")
    assert "The cohort trials. It is simulated" in answer(card, "Forecasts: patients.")
    assert "at w096: 4 of 7 for testing" in answer(card, "Forecasts: patients.")
    assert "| placebo | 3 |" in card
    assert "an AUC of 0.8 [0.65, 0.95]" in answer(card, "Forecasts: who becomes active.")
    assert "no number here is the effect" in answer(card, "Forecasts of the same patients under every treatment.")
    assert not re.search(r"sub-\w+|ses-\w+", card)


def test_cohorts_and_trainings_are_told_apart(tables, record_of):
    cohort, compute = tables["cohort"], tables["compute"]
    other = cohort[cohort["source"] == "msdiff"].assign(cohort="trials")
    trained = compute[compute["rule"] == "train_generator"].iloc[:1].assign(rule="train_control", jobs=2)
    both = {"cohort": pd.concat([cohort, other]), "compute": pd.concat([compute, trained])}
    card = model_card(record_of({**tables, **forecast_tables.all_tables(), **both}))
    assert "| phantom | placebo | 10 |" in card
    assert "| trials | placebo | 10 |" in card
    assert "Trainings of generators: 3 minutes over 1 job" in card.replace("3.0", "3")
    assert "Trainings of forecasters: 3 minutes over 2 jobs" in card.replace("3.0", "3")


def test_a_run_without_forecasts_has_a_whole_card(tables, record_of):
    card = model_card(record_of(tables))
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == HEADINGS
    assert not re.search(r"^\*\*[^*]*orecast", card, re.MULTILINE)


def test_every_answer_of_a_part_is_asked_for_in_a_card():
    frames = [Path(cards.__file__).with_name(name).read_text() for name in (cards.MODEL_CARD, cards.DATASHEET)]
    asked = {
        question for frame in frames for question in re.findall(r'(?:tell\(|answers\(|ask\("[^"]+", )"(\w+)"\)', frame)
    }
    answered = set()
    for part in PARTS:
        template = part.folder / cards.ANSWERS
        if template.is_file():
            text = template.read_text()
            macros = set(re.findall(r"{% macro (\w+)\(\)", text))
            # Some are said in another answer of the same part, too.
            used = {name for name in macros if re.search(rf"[^ ]* {name}\(\) }}}}|, {name}\(\)", text)}
            assert macros - used <= asked, part.name
            answered |= macros
    assert asked <= answered
