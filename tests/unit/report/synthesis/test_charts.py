from msdiff.report.synthesis.charts import plot_image_quality


def test_image_quality_has_a_panel_per_region(tables):
    picture = plot_image_quality(tables["image_quality"])
    titles = [axis.get_title() for axis in picture.figure.axes]
    assert titles[:4] == [f"Mean absolute error, {region}" for region in ("brain", "lesion", "ring", "outside")]
    names = [tick.get_text() for tick in picture.figure.axes[0].get_yticklabels()]
    assert names == ["Long-MS-Diff", "blurred baseline", "copy of the baseline"]
    # What limits a generator is a line: none inside the change, where two real scans differ.
    dashed = [sum(line.get_linestyle() == "--" for line in axis.lines) for axis in picture.figure.axes]
    assert dashed == [1, 0, 1, 1, 1, 1]
