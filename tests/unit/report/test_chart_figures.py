from msdiff.report.chart_figures import plot_histories, plot_image_quality


def test_image_quality_has_a_panel_per_region(tables):
    picture = plot_image_quality(tables["image_quality"])
    titles = [axis.get_title() for axis in picture.figure.axes]
    assert titles[:4] == [f"Mean absolute error, {region}" for region in ("brain", "lesion", "ring", "outside")]
    names = [tick.get_text() for tick in picture.figure.axes[0].get_yticklabels()]
    assert names == ["Long-MS-Diff", "blurred baseline", "copy of the baseline"]
    # What limits a generator is a line: none inside the change, where two real scans differ.
    dashed = [sum(line.get_linestyle() == "--" for line in axis.lines) for axis in picture.figure.axes]
    assert dashed == [1, 0, 1, 1, 1, 1]


def test_a_training_with_negative_loss_is_drawn(histories):
    falling = {name: history.assign(loss=history["loss"] - 0.5) for name, history in histories.items()}
    assert len(plot_histories(falling).figure.axes) == 4


def test_trainings_of_one_network_share_a_panel(histories):
    titles = [axis.get_title() for axis in plot_histories(histories).figure.axes]
    assert titles == ["auxiliary bi-temporal UNet", "Long-MS-Diff", "bi-temporal UNet", "ViT (ResNet-50)"]


def test_no_training_draws_nothing():
    assert plot_histories({}) is None
