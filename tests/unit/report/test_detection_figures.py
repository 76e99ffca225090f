from msdiff.report.detection_figures import draw_augmentation


def test_ratios_stand_in_their_order(tables):
    table = tables["augmentation"].sample(frac=1, random_state=0)
    axis = draw_augmentation(table).figure.axes[0]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1:0", "1:1", "1:2", "1:3"]
