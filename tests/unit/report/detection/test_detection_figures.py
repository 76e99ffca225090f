import pandas as pd
import pytest

from msdiff.report.detection.figures import plot_augmentation, plot_lesion_sizes
from msdiff.tables.layout import assemble
from msdiff.tables.lesion_sizes import COLUMNS


@pytest.fixture
def sizes():
    """Three strata of two detectors on two mixes; the largest stratum has no lesion."""
    rows = [
        {
            **{"cohort": "phantom", "generator": "long_ms_diff", "architecture": architecture, "n": 4, "seeds": 1},
            **{"real_synthetic": ratio, "size": size, "n_lesions": n_lesions},
            **{f"false_positives_per_patient{end}": 2.0 for end in ("", "_lo", "_hi")},
            **{f"lesion_recall{end}": 0.5 if n_lesions else None for end in ("", "_lo", "_hi")},
        }
        for architecture in ("bit_resnet50", "unet")
        for ratio in ("1:0", "0:1")
        for size, n_lesions in (("<14", 3), ("14-65", 8), (">=65", 0))
    ]
    return assemble(rows, [], COLUMNS)


def test_ratios_stand_in_their_order(tables):
    table = tables["augmentation"].sample(frac=1, random_state=0)
    axis = plot_augmentation(table).figure.axes[0]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1:0", "1:1", "1:2", "1:3"]


def test_no_line_leads_to_synthetic_slices_alone(tables):
    table = tables["augmentation"]
    table = pd.concat([table, table[table["real_synthetic"] == "1:2"].assign(real_synthetic="0:1")])
    axis = plot_augmentation(table[table["source"] == "msdiff"]).figure.axes[0]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1:0", "1:1", "1:2", "0:1"]
    # The caps of the intervals are lines of their own.
    curves = [line for line in axis.get_lines() if line.get_linestyle() == "-"]
    assert sorted(len(curve.get_xdata()) for curve in curves) == [1, 1, 3, 3]
    assert len(axis.get_legend_handles_labels()[1]) == 2 + 1


def test_a_panel_per_detector_and_measure(sizes):
    sizes.loc[sizes["architecture"] == "unet", "false_positives_per_patient_hi"] = 9.0
    figure = plot_lesion_sizes(sizes).figure
    # Panels of a row share their limits, and every interval lies within them.
    assert figure.axes[2].get_ylim() == figure.axes[3].get_ylim()
    assert figure.axes[2].get_ylim()[1] > 9
    assert len(figure.axes) == 4
    assert [tick.get_text() for tick in figure.axes[2].get_xticklabels()] == ["<14\n(3)", "14-65\n(8)", ">=65\n(0)"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1:0", "0:1"]


def test_without_rows_there_is_no_figure(sizes):
    assert plot_lesion_sizes(sizes.iloc[:0]) is None
