import numpy as np
import pytest

from msdiff.cohort.affines import load_affine, move, save_affine
from msdiff.errors import BadInput


def test_what_is_saved_is_loaded(tmp_path):
    affine = np.eye(4)
    affine[:3] = np.random.default_rng(0).normal(size=(3, 4)) + np.eye(3, 4)
    save_affine(affine, tmp_path / "a.txt")
    np.testing.assert_allclose(load_affine(tmp_path / "a.txt"), affine, atol=1e-12)


def test_centre_of_rotation_counts(tmp_path):
    """A quarter turn about x in LPS, around (0, 10, 0), by hand."""
    (tmp_path / "a.txt").write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: MatrixOffsetTransformBase_double_3_3\n"
        "Parameters: 1 0 0 0 0 -1 0 1 0 1 2 3\nFixedParameters: 0 10 0\n"
    )
    # LPS (0, 10, 0) is the centre and moves by (1, 2, 3); in RAS signs of x and y turn.
    np.testing.assert_allclose(move(load_affine(tmp_path / "a.txt"), np.array([[0.0, -10.0, 0.0]])), [[-1, -12, 3]])


@pytest.mark.parametrize(
    "text", ["", "Parameters: 1 2 3\nFixedParameters: 0 0 0\n", "Parameters: " + "0 " * 12 + "\nFixedParameters: 0 0 0"]
)
def test_what_is_no_affine_is_refused(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(BadInput, match=r"a\.txt"):
        load_affine(tmp_path / "a.txt")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match="none"):
        load_affine(tmp_path / "none.txt")
