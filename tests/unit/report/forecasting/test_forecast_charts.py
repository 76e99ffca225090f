import forecast_tables as tables
import numpy as np

from msdiff.report.forecasting.charts import plot_activity, plot_calibration, plot_counterfactuals
from msdiff.report.words import write


def marks(axis, label):
    """Places of the points of a curve, from left to right."""
    handles, labels = axis.get_legend_handles_labels()
    data, _, _ = handles[labels.index(label)]
    return sorted(zip(data.get_xdata(), data.get_ydata(), strict=True))


def test_activity_has_a_row_per_arm_with_its_active_patients():
    figure = plot_activity(tables.activity()).figure
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names[0] == "placebo\n11 of 20 active"
    assert names[-1] == f"{write('all', 'arm')}\n16 of 42 active"
    assert [x for x, _ in marks(figure.axes[0], "this run")] == [0.6, 0.7, 0.8, 0.9]


def test_the_papers_points_lie_in_the_row_of_their_arm():
    axis = plot_activity(tables.activity()).figure.axes[0]
    ours, paper = dict(marks(axis, "this run")), dict(marks(axis, "paper"))
    # Low efficacy is the paper's alone and has no row here.
    assert sorted(paper) == [0.826, 0.868]
    assert abs(paper[0.826] - ours[0.7]) < 0.5
    assert abs(paper[0.868] - ours[0.9]) < 0.5


def test_an_arm_without_active_patients_has_no_mark():
    table = tables.activity()
    table.loc[table["arm"] == "high_efficacy", ["auc", "auc_lo", "auc_hi", "ap", "n_positive"]] = [None] * 4 + [0]
    assert [x for x, _ in marks(plot_activity(table).figure.axes[0], "this run")] == [0.6, 0.7, 0.8]


def test_arms_stand_in_their_order():
    axes = plot_counterfactuals(tables.counterfactuals()).figure.axes
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["placebo", "mild\nefficacy", "high\nefficacy"]
    assert list(axes[1].get_lines()[0].get_ydata()) == [0.8, 0.5, 0.1]


def test_calibration_leaves_out_empty_bins_and_counts_the_others():
    figure = plot_calibration(tables.calibration()).figure
    assert [text.get_text() for text in figure.axes[0].texts] == ["10/20", "6/12", "5/10"]
    assert [text.get_text() for text in figure.axes[1].texts] == ["30/9,000"] * 3
    curve = figure.axes[0].get_lines()[1]
    points = [*zip(curve.get_xdata(), curve.get_ydata(), strict=True)]
    np.testing.assert_allclose(np.asarray(points, dtype=float), [(0.1, 0.05), (0.5, 0.45), (0.9, 0.85)])


def test_without_rows_there_is_no_figure():
    nothing = tables.activity().iloc[:0]
    assert plot_activity(nothing) is None
    assert plot_counterfactuals(tables.counterfactuals().iloc[:0]) is None
    assert plot_calibration(tables.calibration().iloc[:0]) is None
