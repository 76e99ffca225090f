import argparse
import json

import numpy as np
import pytest
from PIL import Image

from msdiff.cli import draw_figures as command
from msdiff.report import figures


def draw(parser_of, *arguments):
    parser = argparse.ArgumentParser()
    parser_of.add_arguments(parser)
    parser_of.run(parser.parse_args([str(argument) for argument in arguments]))


def test_anterior_is_up_and_right_is_right(stack, shards):
    picture = figures.draw_follow_ups(stack, "flair", shards, 3)
    shown = picture.figure.axes[0].images[0]
    assert shown.origin == "lower"
    left, right, bottom, top = shown.get_extent()
    assert left < right
    assert bottom < top
    # The fixture's brain is brighter in front, which is at high y.
    image = np.asarray(shown.get_array())
    assert image[44:50, 28:36].mean() > image[14:20, 28:36].mean()
    assert "neurological" in picture.caption


def test_follow_ups_have_a_row_per_patient_with_a_truth(stack, shards):
    labels = [
        axis.get_ylabel().split("\n")[0] for axis in figures.draw_follow_ups(stack, "flair", shards, 9).figure.axes
    ]
    assert sorted(label for label in labels if label) == ["sub-0001", "sub-0002", "sub-0004"]


def test_order_of_shards_does_not_matter(stack, shards, tmp_path):
    for name, order in (("there", shards), ("back", shards[::-1])):
        figures.save_picture(figures.draw_follow_ups(stack, "flair", order, 2), tmp_path / f"{name}.png")
    assert (tmp_path / "there.png").read_bytes() == (tmp_path / "back.png").read_bytes()


def test_nothing_to_compare_with_draws_nothing(stack, shards):
    without = [shard._replace(manifest=shard.manifest.assign(follow_up_row=-1)) for shard in shards]
    assert figures.draw_follow_ups(stack, "flair", without, 3) is None


def test_the_pair_that_fits_worst_comes_first(stack):
    picture = figures.draw_preprocessing(stack, "flair", 2)
    labels = [axis.get_ylabel() for axis in picture.figure.axes if axis.get_ylabel()]
    assert len(labels) == 2
    correlations = [float(label.split("r = ")[1]) for label in labels]
    assert correlations == sorted(correlations)
    # The patient without a change is the one whose scans agree best.
    assert not any("sub-0003" in label for label in labels)


def test_ratios_stand_in_their_order(tables):
    table = tables["augmentation"].sample(frac=1, random_state=0)
    axis = figures.draw_augmentation(table).figure.axes[0]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1:0", "1:1", "1:2", "1:3"]


def test_image_quality_has_a_panel_per_region(tables):
    picture = figures.draw_image_quality(tables["image_quality"])
    titles = [axis.get_title() for axis in picture.figure.axes]
    assert titles[:4] == [f"Mean absolute error, {region}" for region in ("brain", "lesion", "ring", "outside")]
    names = [tick.get_text() for tick in picture.figure.axes[0].get_yticklabels()]
    assert names == ["Long-MS-Diff", "blurred baseline", "copy of the baseline"]
    # What limits a generator is a line: none inside the change, where two real scans differ.
    dashed = [sum(line.get_linestyle() == "--" for line in axis.lines) for axis in picture.figure.axes]
    assert dashed == [1, 0, 1, 1, 1, 1]


def test_a_training_with_negative_loss_is_drawn(histories):
    falling = {name: history.assign(loss=history["loss"] - 0.5) for name, history in histories.items()}
    assert len(figures.draw_histories(falling).figure.axes) == 4


def test_trainings_of_one_network_share_a_panel(histories):
    titles = [axis.get_title() for axis in figures.draw_histories(histories).figure.axes]
    assert titles == ["auxiliary bi-temporal UNet", "Long-MS-Diff", "bi-temporal UNet", "ViT (ResNet-50)"]


def test_no_training_draws_nothing():
    assert figures.draw_histories({}) is None


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
        "expected_cost": dict.fromkeys(["cost_false_positive", "cost_false_negative"], 1)
        | dict.fromkeys(["prior_negative", "prior_positive"], 0.5),
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
