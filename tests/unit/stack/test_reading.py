import numpy as np
import pandas as pd
import pytest

from msdiff.errors import BadInput
from msdiff.images import axis_aligned_grid
from msdiff.stack.reading import WHOLE, Stack


@pytest.fixture
def stack(tmp_path):
    np.save(tmp_path / "flair.npy", np.arange(2 * 3 * 4 * 5, dtype=np.float16).reshape(2, 3, 4, 5))
    grid = axis_aligned_grid((5, 4, 3), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0))
    return Stack(tmp_path, grid, pd.DataFrame(), pd.DataFrame())


def test_slices_and_volumes_are_read_by_row_and_number(stack):
    flair = stack.array("flair")
    np.testing.assert_array_equal(stack.read("flair", 1, 2), flair[1, 2])
    np.testing.assert_array_equal(stack.read("flair", [1, 0], [2, 0]), np.stack([flair[1, 2], flair[0, 0]]))
    np.testing.assert_array_equal(stack.read("flair", [1, 0], [WHOLE, WHOLE]), flair[::-1])
    np.testing.assert_array_equal(stack.read("flair", 1), flair[1])
    assert stack.read("flair", [], []).shape == (0, 4, 5)


def test_a_row_or_an_array_that_is_not_there_is_told(stack):
    with pytest.raises(IndexError):
        stack.read("flair", [2], [0])
    with pytest.raises(BadInput, match="no such array; the folder holds flair"):
        stack.read("t1w", 0, 0)
