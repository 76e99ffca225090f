import numpy as np

from msdiff.report.pictures import save_picture
from msdiff.report.synthesis.figures import plot_follow_ups


def test_anterior_is_up_and_right_is_right(stack, shards):
    picture = plot_follow_ups(stack, "flair", shards, 3)
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
    labels = [axis.get_ylabel().split("\n")[0] for axis in plot_follow_ups(stack, "flair", shards, 9).figure.axes]
    assert sorted(label for label in labels if label) == ["sub-0001", "sub-0002", "sub-0004"]


def test_a_painted_mask_stands_beside_the_generated_follow_up(stack, shards):
    axes = plot_follow_ups(stack, "flair", shards, 9).figure.axes
    assert [axis.get_title() for axis in axes[3:5]] == ["Generated follow-up", "Mask painted"]
    baseline, painted = (np.asarray(axes[number].images[0].get_array()) for number in (0, 4))
    changed = baseline != painted
    assert changed.any()
    # All new lesions of the fixture are 0.85 but for noise.
    np.testing.assert_allclose(painted[changed], 0.85, atol=0.05)


def test_order_of_shards_does_not_matter(stack, shards, tmp_path):
    for name, order in (("there", shards), ("back", shards[::-1])):
        save_picture(plot_follow_ups(stack, "flair", order, 2), tmp_path / f"{name}.png")
    assert (tmp_path / "there.png").read_bytes() == (tmp_path / "back.png").read_bytes()


def test_nothing_to_compare_with_plots_nothing(stack, shards):
    without = [shard._replace(manifest=shard.manifest.assign(follow_up_row=-1)) for shard in shards]
    assert plot_follow_ups(stack, "flair", without, 3) is None
