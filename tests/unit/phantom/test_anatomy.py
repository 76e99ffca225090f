import numpy as np
import pytest

from msdiff.errors import BadSettings
from msdiff.phantom.anatomy import (
    TISSUES,
    atlas_head,
    deform,
    jacobians,
    lesion_places,
    simulate_shape,
    to_atlas,
    to_head,
)


@pytest.mark.parametrize("seed", range(6))
def test_shapes_are_diffeomorphic_and_invertible(seed):
    rng = np.random.default_rng(seed)
    shape = simulate_shape(4.0, 24.0, 4.0, rng)
    assert jacobians(shape).min() > 0.2
    points = rng.uniform([-60, -90, -40], [60, 60, 70], (200, 3))
    moved = to_head(shape, points)
    assert np.linalg.norm(moved - points, axis=1).mean() > 1
    np.testing.assert_allclose(to_atlas(shape, moved), points, atol=1e-3)


def test_a_warp_that_folds_is_refused():
    with pytest.raises(BadSettings, match="folds"):
        simulate_shape(60.0, 10.0, 0.0, np.random.default_rng(0))


def test_tissue_shares_are_shares():
    head = atlas_head(4)
    assert head.shares.min() >= 0
    assert head.shares.sum(axis=0).max() < 1.0001
    litres = head.brain.sum() * 4**3 / 1e6
    assert 1.5 < litres < 2.3
    matter = head.shares[TISSUES.index("white_matter")] + head.shares[TISSUES.index("grey_matter")]
    assert 1.0 < matter.sum() * 4**3 / 1e6 < 1.9


def test_no_warp_changes_nothing():
    head = atlas_head(4)
    same = deform(head, simulate_shape(0.0, 24.0, 0.0, np.random.default_rng(0)), head.grid)
    np.testing.assert_allclose(same.shares, head.shares, atol=2e-3)


def test_anatomy_moves_with_its_points():
    """A region's centre of mass in the deformed head is where `to_head` puts it."""
    head, shape = atlas_head(4), simulate_shape(6.0, 30.0, 5.0, np.random.default_rng(3))
    centre = np.array([28.0, -20.0, 30.0])
    indices = np.indices(head.grid.shape).reshape(3, -1).T
    points = indices @ head.grid.affine[:3, :3].T + head.grid.affine[:3, 3]
    blob = np.exp(-((points - centre) ** 2).sum(1) / (2 * 8**2)).reshape(head.grid.shape).astype(np.float32)
    moved = deform(head._replace(brain=blob), shape, head.grid).brain.ravel()
    found = (points * moved[:, None]).sum(0) / moved.sum()
    np.testing.assert_allclose(found, to_head(shape, centre[None])[0], atol=1.0)


def test_lesion_places_lie_where_their_names_say():
    places = lesion_places()
    assert all(len(points) > 200 for points in places.values())
    assert np.abs(np.concatenate(list(places.values()))).max() < 110
    periventricular = places["periventricular"]
    # The bodies of the lateral ventricles lie within about 40 mm of the midline.
    assert np.abs(periventricular[:, 0]).max() < 55
    assert abs(places["deep"][:, 0].mean()) < 3
