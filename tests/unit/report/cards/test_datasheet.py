import argparse
import json
import re

import forecast_cases
import numpy as np
import pandas as pd
from indexed import slab_files, stack_files

from msdiff.cli import datasheet as datasheet_command
from msdiff.cli import model_card as model_card_command
from msdiff.report.cards import UNANSWERED, datasheet
from msdiff.sampling.shards import load_shard, save_shard
from msdiff.tables.layout import write_table

# Gebru et al. 2021.
HEADINGS = [
    "Motivation",
    "Composition",
    "Collection process",
    "Preprocessing, cleaning and labeling",
    "Uses",
    "Distribution",
    "Maintenance",
]


def test_every_heading_of_gebru_is_there(tables, record_of):
    assert re.findall(r"^## (.*)$", datasheet(record_of(tables)), re.MULTILINE) == HEADINGS


def test_the_set_is_counted_from_its_manifest(tables, record_of):
    sheet = datasheet(record_of(tables))
    assert "3 follow-ups, 3 of them with change. 2 patients lent baselines, 2 patients masks." in sheet
    assert "a median of 200 mm" in sheet
    assert "Those of 2 patients, in the cohort's split 2 for training." in sheet
    assert f"Weights SHA-256 `{'a' * 64}`; sampler DPM-Solver++ (2M), 20 steps, guidance weight 0." in sheet
    assert f"SHA-256 `{'b' * 64}`." in sheet
    assert "Every image of this set is synthetic" in sheet


def test_a_patient_of_another_split_is_told(tables, record_of, manifest):
    record = record_of(tables)
    other = record._replace(manifests={"long_ms_diff": manifest.assign(mask_subject="sub-0004")})
    assert "Those of 3 patients, in the cohort's split 2 for training and 1 for testing." in datasheet(other)


def test_findings_on_privacy_are_the_tables(tables, privacy, record_of):
    assert "By learned embedding 1 of 240 follow-ups" in datasheet(record_of({**tables, "privacy": privacy}))
    assert f"**Does it repeat training data?** {UNANSWERED}" in datasheet(record_of(tables))


def test_a_real_patients_anatomy_is_protected(tables, record_of):
    assert "No: no patient was scanned." in datasheet(record_of(tables))
    real = datasheet(record_of(tables, sheet="scans.tsv"))
    assert "shows the anatomy of a real patient's baseline" in real
    assert f"under which licence?** {UNANSWERED}" in real
    assert "simulated" not in real


def test_a_licence_is_told_where_one_was_chosen(tables, record_of):
    record = record_of(tables)
    assert f"**Under which licence?** {UNANSWERED}" in datasheet(record)
    synthesis = {**record.run.config["synthesis"], "nifti": {"license": "CC BY 4.0", "every": 1}}
    run = record.run._replace(config={**record.run.config, "synthesis": synthesis})
    assert "**Under which licence?** CC BY 4.0, as the config" in datasheet(record._replace(run=run))


def test_no_patient_is_named(tables, privacy, record_of):
    assert not re.search(r"sub-\w+|ses-\w+", datasheet(record_of({**tables, "privacy": privacy})))


def test_forecasts_are_counted_from_their_shards(tables, record_of, tmp_path):
    assert not re.search(r"^\*\*[^*]*orecast", datasheet(record_of(tables)), re.MULTILINE)
    forecast_cases.write_forecasts(tmp_path / "test", every_arm=True, with_probability=False)
    rows = pd.concat(load_shard(tmp_path / "test" / "shards" / shard).manifest for shard in ("000", "001"))
    rows = rows.assign(model="pre_treatment", sampler="ddim", steps=50, guidance_weight=1.5)
    sheet = datasheet(record_of(tables)._replace(forecasts={"counterfactuals": rows}))
    assert "8 masks of new lesions for each of 7 patients for testing, under 3 arms" in sheet
    assert f"weights SHA-256 `{'a' * 64}`; sampler DDIM, 50 steps, guidance weight 1.5." in sheet
    assert "No clinical use of any kind" in sheet
    assert re.findall(r"^## (.*)$", sheet, re.MULTILINE) == HEADINGS
    assert not re.search(r"sub-\w+|ses-\w+", sheet)


def test_commands_write_the_cards(tables, privacy, record_of, manifest, stack_folder, tmp_path):
    import torch

    from msdiff.networks.weights import save_weights, sha256

    record = record_of(tables)
    weights = tmp_path / "weights.safetensors"
    save_weights({"layer": torch.zeros(3, 5)}, dict(record.generators["long_ms_diff"].description), weights)
    images = np.zeros((3, 4, 8), dtype=np.float32)
    save_shard(tmp_path / "000", manifest, follow_up=images, change_mask=images > 0)
    (tmp_path / "provenance.json").write_text(json.dumps(record.provenance))
    forecast_cases.write_slabs(tmp_path / "slabs")
    forecast_cases.write_forecasts(tmp_path / "test", every_arm=False, with_probability=False)
    for name, table in {**tables, "privacy": privacy}.items():
        write_table(table, tmp_path / "tables" / f"{name}.csv")
    for command in (model_card_command, datasheet_command):
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        options = [
            "--provenance",
            tmp_path / "provenance.json",
            "--tables",
            *sorted((tmp_path / "tables").glob("*.csv")),
            "--stack",
            *stack_files(stack_folder),
        ]
        options += ["--weights", f"long_ms_diff={weights}", "--shards", tmp_path / "000"]
        options += ["--forecasters", f"two_sessions={weights}", "--slabs", *slab_files(tmp_path / "slabs")]
        options += ["--forecast-shards", f"test={tmp_path / 'test' / 'shards' / '000'}"]
        command.run(parser.parse_args([str(option) for option in [*options, "--out", tmp_path / "card.md"]]))
        card = (tmp_path / "card.md").read_text()
        if command is model_card_command:
            assert f"15 parameters, weights SHA-256 {sha256(weights)}" in card
            assert "2 for training, 1 for validation and 1 for testing" in card
            assert "Forecaster (two sessions)." in card
        else:
            assert "3 follow-ups, 3 of them with change" in card
            assert "Which forecasts are there (test)?" in card
