import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from msdiff.images import Volume, axis_aligned_grid
from msdiff.preprocess.search import RADIUS_MM, cost, foreground, head_centre, head_map, sample

CENTRE = np.array([0.0, -18.0, 8.0])


def test_parameters_are_shifts_and_turns_about_the_centre():
    matrix = head_map(np.array([1.0, 2, 3, 0, 0, RADIUS_MM * np.pi / 2]), CENTRE)
    np.testing.assert_allclose(matrix @ [*CENTRE, 1], [1, -16, 11, 1], atol=1e-9)
    np.testing.assert_allclose(matrix[:3, :3], Rotation.from_euler("z", 90, degrees=True).as_matrix(), atol=1e-9)


@pytest.mark.parametrize("extra", [[RADIUS_MM * np.log(0.9)], [RADIUS_MM * np.log(0.9)] * 3 + [3.0, 0, 0]])
def test_scale_and_shear(extra):
    matrix = head_map(np.array([0.0] * 6 + extra), CENTRE)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(0.9**3)


def test_cost_is_least_in_register(head):
    sampled = sample(head, head, foreground(head), 8.0, 24)
    best = cost(sampled, np.eye(4))
    for shift in ([6, 0, 0], [0, -6, 0], [0, 0, 6]):
        moved = np.eye(4)
        moved[:3, 3] = shift
        assert best < cost(sampled, moved) < 0
    assert cost(sampled, np.diag([1.0, 1, 1, 1]) + np.pad([[400]], ((0, 3), (3, 0)))) == 0


def test_foreground_is_the_head(head):
    inside = foreground(head)
    assert inside[30, 34, 28]
    assert not inside[0].any()


def test_centre_ignores_the_neck(head):
    long = np.concatenate([np.repeat(head.data[:, :, :1] * 0 + 500, 20, axis=2), head.data], axis=2)
    affine = head.affine.copy()
    affine[2, 3] -= 80
    grid = axis_aligned_grid(head.data.shape, (4.0, 4.0, 4.0), (0.0, -18.0, 0.0))
    assert grid.shape == head.data.shape
    np.testing.assert_allclose(head_centre(Volume(long, affine))[2], head_centre(head)[2], atol=16)
