import argparse
import json

import pytest
from PIL import Image

from msdiff.cli import draw_figures as command


def draw(parser_of, *arguments):
    parser = argparse.ArgumentParser()
    parser_of.add_arguments(parser)
    parser_of.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture(scope="session")
def figures_folder(stack_folder, shards, histories, tables_folder, tmp_path_factory):
    from msdiff.cohort.samples import save_shard

    folder = tmp_path_factory.mktemp("results")
    for number, shard in enumerate(shards):
        save_shard(shard, folder / f"{number:03d}")
    for name, history in histories.items():
        history.to_csv(folder / f"{name.replace('/', '_')}.csv", index=False)
    settings = {
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
    draw(
        command,
        *("--stack", stack_folder, "--held-out", folder / "000", folder / "001", "--histories"),
        *(f"{name}={folder / name.replace('/', '_')}.csv" for name in histories),
        *("--tables", tables_folder, "--out", folder / "figures", "--settings", json.dumps(settings)),
    )
    return folder / "figures"


def test_command_draws_every_figure(figures_folder):
    drawn = sorted(path.name for path in figures_folder.iterdir())
    names = ["augmentation.png", "follow_ups.png", "image_quality.png", "losses.png", "preprocessing.png"]
    assert drawn == names


def test_a_figure_carries_its_caption(figures_folder):
    with Image.open(figures_folder / "follow_ups.png") as image:
        assert image.text["Title"] == "Generated follow-ups of held-out patients"
        assert "anterior up" in image.text["Description"]
