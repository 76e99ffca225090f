import numpy as np
import pytest

from msdiff.errors import BadSettings
from msdiff.images import Volume, axis_aligned_grid
from msdiff.parcellation.plain import parcellate as by_intensity
from msdiff.parcellation.regions import REGIONS, label, parcellate, volumes
from msdiff.settings import Choice

GRID = axis_aligned_grid((8, 8, 4), (2.0, 2.0, 3.0), (0.0, 0.0, 0.0))
OPTIONS = {"smoothing_mm": 0.0, "rounds": 10}


def test_left_is_where_x_is_negative():
    labels = label(np.full(GRID.shape, 3, dtype=np.uint8), GRID)
    assert (labels[:4] == 2).all()
    assert (labels[4:] == 41).all()
    mirrored = axis_aligned_grid((8, 8, 4), (-2.0, 2.0, 3.0), (0.0, 0.0, 0.0))
    assert (label(np.full(GRID.shape, 2, dtype=np.uint8), mirrored)[:4] == 42).all()


def test_volumes_are_of_all_regions():
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    labels[0, 0, :3] = 24
    table = volumes(Volume(labels, GRID.affine))
    assert table["label"].tolist() == list(REGIONS.values())
    assert table.set_index("region").loc["csf", "volume_mm3"] == pytest.approx(36)
    assert table["volume_mm3"].sum() == pytest.approx(36)


@pytest.mark.parametrize(("contrast", "order"), [("t1w", [1, 2, 3]), ("flair", [1, 3, 2]), ("t2w", [3, 2, 1])])
def test_classes_are_named_by_contrast(contrast, order):
    data = np.repeat(np.array([-0.9, -0.8, 0.1, 0.2, 0.15, 0.6, 0.7, 0.65]), 32).reshape(GRID.shape).astype(np.float32)
    tissue = by_intensity(Volume(data, GRID.affine), contrast, np.ones(GRID.shape, bool), OPTIONS)
    assert [int(tissue[0, 0, 0]), int(tissue[3, 0, 0]), int(tissue[6, 0, 0])] == order


def test_unknown_backend_lists_the_known_ones():
    image = Volume(np.zeros(GRID.shape, np.float32), GRID.affine)
    with pytest.raises(BadSettings, match="expected one of atlas, plain"):
        parcellate({"t1w": image}, np.ones(GRID.shape, bool), Choice(backend="synthseg2", options={}))
