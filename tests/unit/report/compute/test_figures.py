from msdiff.report.compute.figures import plot_histories


def test_a_training_with_negative_loss_is_plotted(histories):
    falling = {name: history.assign(loss=history["loss"] - 0.5) for name, history in histories.items()}
    assert len(plot_histories(falling).figure.axes) == 4


def test_trainings_of_one_network_share_a_panel(histories):
    titles = [axis.get_title() for axis in plot_histories(histories).figure.axes]
    assert titles == ["auxiliary bi-temporal UNet", "Long-MS-Diff", "bi-temporal UNet", "ViT (ResNet-50)"]


def test_no_training_plots_nothing():
    assert plot_histories({}) is None
