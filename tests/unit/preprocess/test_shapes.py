import numpy as np

from msdiff.images import axis_aligned_grid
from msdiff.preprocess.shapes import ball, close_gaps, largest_component

GRID = axis_aligned_grid((8, 8, 8), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0))


def test_ball_is_round_in_mm():
    shape = ball(GRID, 3.0)
    assert shape.shape == (7, 7, 3)
    assert shape[3, 3, 0]
    assert not shape[2, 3, 0]
    assert ball(GRID, 0.0).shape == (1, 1, 1)


def test_gaps_are_bridged_in_mm():
    """Three voxels along x are 3 mm; along z one voxel is, and three are 9 mm."""
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[:4, :, :] = mask[7:, :, :] = True
    grid = axis_aligned_grid((12, 12, 12), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0))
    assert close_gaps(mask, grid, 2.0).all()
    np.testing.assert_array_equal(close_gaps(mask, grid, 1.0), mask)
    np.testing.assert_array_equal(close_gaps(mask, grid, 0.0), mask)
    layers = np.zeros((12, 12, 12), dtype=bool)
    layers[:, :, [0, 2, 6]] = True
    closed = close_gaps(layers, grid, 3.0)
    assert closed[:, :, 1].all()
    assert not closed[:, :, 4].any()


def test_largest_component_stays():
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[0, 0, 0] = mask[3:5, 3:5, 3:5] = True
    assert largest_component(mask).sum() == 8
    assert not largest_component(np.zeros((3, 3, 3), dtype=bool)).any()
