import argparse
import json

import forecast_cases
import forecast_tables
import pytest
from indexed import slab_files, stack_files
from PIL import Image

from msdiff.cli import plot_figures as command
from msdiff.cli.named import named
from msdiff.errors import BadInput
from msdiff.tables.layout import write_table

SETTINGS = {
    "confidence_level": 0.95,
    "bootstrap_resamples": 10,
    "bootstrap_seed": 0,
    "patients_per_resample": None,
    "expected_cost": dict.fromkeys(["cost_false_positive", "cost_false_negative"], 1)
    | dict.fromkeys(["prior_negative", "prior_positive"], 0.5),
    "lesion_size_edges_mm3": [14.0],
    "figure_patients": 4,
    "quality_pictures": 2,
}


def plot_by_command(parser_of, *arguments):
    parser = argparse.ArgumentParser()
    parser_of.add_arguments(parser)
    parser_of.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture(scope="session")
def figures_folder(stack_folder, shards, histories, tables_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for name, history in histories.items():
        history.to_csv(folder / f"{name.replace('/', '_')}.csv", index=False)
    plot_by_command(
        command,
        *("--stack", *stack_files(stack_folder), "--held-out", *(shard.folder for shard in shards), "--histories"),
        *(f"{name}={folder / name.replace('/', '_')}.csv" for name in histories),
        *(
            "--tables",
            *sorted(tables_folder.glob("*.csv")),
            "--out",
            folder / "figures",
            "--settings",
            json.dumps(SETTINGS),
        ),
    )
    return folder / "figures"


def test_command_plots_every_figure(figures_folder):
    plotted = sorted(path.name for path in figures_folder.iterdir())
    names = ["augmentation.png", "follow_ups.png", "image_quality.png", "losses.png", "preprocessing.png"]
    assert plotted == names


def test_a_figure_carries_its_caption(figures_folder):
    with Image.open(figures_folder / "follow_ups.png") as image:
        assert image.text["Title"] == "Generated follow-ups of held-out patients"
        assert "anterior up" in image.text["Description"]


def test_forecasts_are_plotted_where_a_run_has_some(stack_folder, tmp_path):
    forecast_cases.write_slabs(tmp_path / "slabs")
    for purpose in ("test", "heat_maps", "counterfactuals"):
        forecast_cases.write_forecasts(
            tmp_path / purpose, every_arm=purpose == "counterfactuals", with_probability=purpose == "heat_maps"
        )
    for name, table in forecast_tables.all_tables().items():
        write_table(table, tmp_path / "tables" / f"{name}.csv")
    shards = [
        f"{purpose}={tmp_path / purpose / 'shards' / number}"
        for purpose in ("test", "counterfactuals")
        for number in ("000", "001")
    ]
    plot_by_command(
        command,
        *(
            "--stack",
            *stack_files(stack_folder),
            "--tables",
            *sorted((tmp_path / "tables").glob("*.csv")),
            "--slabs",
            *slab_files(tmp_path / "slabs"),
            "--forecasts",
        ),
        *(f"{purpose}={tmp_path / purpose / 'scores'}" for purpose in ("test", "heat_maps", "counterfactuals")),
        *("--forecast-shards", *shards, "--out", tmp_path / "figures"),
        *("--settings", json.dumps({**SETTINGS, "figure_patients": 1})),
    )
    plotted = {path.stem for path in (tmp_path / "figures").iterdir()}
    names = {"forecasts", "heat_maps", "one_patient", "activity_prediction", "counterfactuals", "calibration"}
    assert plotted == names | {"preprocessing"}


def test_a_purpose_without_a_folder_is_refused():
    with pytest.raises(BadInput, match="--forecasts: expected PURPOSE=SCORES, got 'scores'"):
        named("--forecasts", "PURPOSE=SCORES", ["scores"])
