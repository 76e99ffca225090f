import pytest
from PIL import Image

from msdiff.report.compute.previews import plot_previews


@pytest.fixture
def previews(tmp_path):
    for step in (20, 100, 60, 3):
        Image.new("RGB", (200, 80), (step, 0, 0)).save(tmp_path / f"step-{step:09d}.png")
    return list(tmp_path.glob("*.png"))


def test_first_middle_and_last_are_shown_in_their_order(previews):
    picture = plot_previews(previews)
    assert [axis.get_title(loc="left") for axis in picture.figure.axes] == ["Step 3", "Step 20", "Step 100"]
    assert [int(axis.images[0].get_array()[0, 0, 0]) for axis in picture.figure.axes] == [3, 20, 100]
    assert "after 3, 20 and 100 steps" in picture.caption


def test_few_previews_are_not_repeated(previews):
    assert len(plot_previews(previews[:1]).figure.axes) == 1
    assert len(plot_previews(previews[:2]).figure.axes) == 2


def test_a_training_without_previews_plots_nothing():
    assert plot_previews([]) is None
