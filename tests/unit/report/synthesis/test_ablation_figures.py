import numpy as np
import pandas as pd
import pytest

from msdiff.report.synthesis.ablation import TITLES, plot_ablation
from msdiff.report.words import write
from msdiff.tables.ablation import COLUMNS, METRICS

VARIANTS = ["complete", "without_change_mask", "without_dropout"]


@pytest.fixture
def ablation():
    """Differences of 0.1 times the place in the table, give or take 0.05."""
    table = pd.DataFrame(columns=["source", *COLUMNS], index=range(len(VARIANTS)))
    table = table.assign(source="msdiff", variant=VARIANTS, n=4, seeds=1)
    for metric in METRICS:
        for end, by in (("", 0.0), ("_lo", -0.05), ("_hi", 0.05)):
            table[f"{metric}_difference{end}"] = [np.nan, 0.1 + by, 0.2 + by]
    return table


def test_a_panel_per_metric_holds_the_variants_beside_nothing(ablation):
    axes = plot_ablation(ablation).figure.axes
    assert [axis.get_title() for axis in axes] == [TITLES[metric] for metric in METRICS]
    names = [tick.get_text() for tick in axes[0].get_yticklabels()]
    assert names == [write(name) for name in VARIANTS[1:]]
    for axis in axes:
        none, points = axis.lines[0], axis.lines[1]
        assert list(none.get_xdata()) == [0, 0]
        # The first variant stands on top.
        assert dict(zip(points.get_ydata(), points.get_xdata(), strict=True)) == {1: 0.1, 0: 0.2}
        (bars,) = axis.collections
        np.testing.assert_allclose([path[:, 0] for path in bars.get_segments()], [[0.05, 0.15], [0.15, 0.25]])


def test_a_run_without_variants_plots_nothing(ablation):
    assert plot_ablation(ablation.iloc[:1]) is None
    assert plot_ablation(ablation.assign(source="paper")) is None
