import sys

import numpy as np
import pytest

from msdiff import template
from msdiff.errors import BadInput
from msdiff.images import axis_aligned_grid
from msdiff.template import load_template, template_brain, template_path

GRID = axis_aligned_grid((48, 56, 24), (4.0, 4.0, 8.0), (0.0, -18.0, 8.0))


@pytest.mark.parametrize("name", ["t1", "gm", "wm"])
def test_maps_are_fractions(name):
    data = load_template(name).data
    assert data.shape == (197, 233, 189)
    assert data.min() == 0
    assert 0.9 < data.max() <= 1


def test_nilearn_is_not_imported():
    template_path("t1")
    assert "nilearn.datasets" not in sys.modules


def test_brain_has_the_published_size():
    litres = template_brain(GRID).sum() * GRID.voxel_volume_mm3 / 1e6
    assert litres == pytest.approx(1.89, abs=0.05)


def test_maps_come_on_any_grid():
    white = load_template("wm", GRID).data
    assert white.shape == GRID.shape
    # The corpus callosum lies on the midline, the lateral ventricle below it.
    x, y, z = np.rint(np.linalg.inv(GRID.affine) @ [16, -40, 24, 1])[:3].astype(int)
    assert white[x - 2 : x + 3, y, z].max() > 0.8


def test_missing_package_is_one_line(monkeypatch):
    monkeypatch.setattr(template, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="install nilearn"):
        template_path("t1")
