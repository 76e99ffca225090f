import numpy as np
import pytest
from scipy.linalg import expm

from msdiff.errors import BadInput
from msdiff.images import Volume, axis_aligned_grid
from msdiff.preprocess import registration
from msdiff.preprocess.registration import RawScan, even, midway_maps, register_patient, resample_scan
from msdiff.settings import Choice

GRID = axis_aligned_grid((16, 16, 12), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0))


def motion(generator, size):
    matrix = np.zeros((4, 4))
    a, b, c = generator.normal(size=3) * size
    matrix[:3, :3] = [[0, -a, b], [a, 0, -c], [-b, c, 0]]
    matrix[:3, 3] = generator.normal(size=3) * 50 * size
    return matrix


def test_two_sessions_meet_half_way():
    way = motion(np.random.default_rng(0), 0.2)
    first, second = midway_maps([np.eye(4), expm(way)])
    np.testing.assert_allclose(first, expm(-way / 2), atol=1e-9)
    np.testing.assert_allclose(second, expm(way / 2), atol=1e-9)


def test_one_session_stays():
    np.testing.assert_allclose(midway_maps([np.eye(4)])[0], np.eye(4), atol=1e-12)


def test_midway_does_not_prefer_the_baseline():
    generator = np.random.default_rng(1)
    to_second, to_third = expm(motion(generator, 0.1)), expm(motion(generator, 0.1))
    from_first = midway_maps([np.eye(4), to_second, to_third])
    back = np.linalg.inv(to_second)
    from_second = midway_maps([back, np.eye(4), to_third @ back])
    # The same space, to second order in the motions, whichever session is the first.
    np.testing.assert_allclose(from_first[0], from_second[0], atol=0.2)
    np.testing.assert_allclose(from_first[0][:3, :3], from_second[0][:3, :3], atol=0.005)


def test_swapped_sessions_swap_their_maps():
    way = expm(motion(np.random.default_rng(2), 0.3))
    first, second = midway_maps([np.eye(4), way])
    other, one = midway_maps([np.eye(4), np.linalg.inv(way)])
    np.testing.assert_allclose(one, first, atol=1e-9)
    np.testing.assert_allclose(other, second, atol=1e-9)


def test_both_sessions_are_smoothed_alike():
    """Linear interpolation smooths; were the baseline the common space, only the follow-up's would be."""
    generator = np.random.default_rng(3)
    grid = axis_aligned_grid((40, 40, 40), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    noise = [Volume(generator.normal(size=grid.shape).astype(np.float32), grid.affine) for _ in range(2)]

    def spreads(maps):
        for image, matrix in zip(noise, maps, strict=True):
            moved = resample_scan(RawScan("ses", {"flair": image}, {}, None), {"flair": matrix}, grid, "flair")
            yield float(moved["flair"].data[8:-8, 8:-8, 8:-8].std())

    way = motion(np.random.default_rng(4), 0.1)
    first, second = spreads(midway_maps([np.eye(4), expm(way)]))
    assert first == pytest.approx(second, rel=0.08)
    straight, turned = spreads([np.eye(4), expm(way)])
    assert turned < 0.9 * straight


def test_masks_stay_masks_of_their_size():
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[3:12, 4:13, 3:9] = True
    image = Volume(np.where(mask, 100, 0).astype(np.float32), GRID.affine)
    scan = RawScan("ses", {"flair": image}, {"brain_mask": Volume(mask, GRID.affine)}, None)
    grid = axis_aligned_grid((48, 48, 36), (1.5, 1.5, 1.5), (0.0, 0.0, 0.0))
    moved = resample_scan(scan, {"flair": expm(motion(np.random.default_rng(5), 0.05))}, grid, "flair")
    assert moved["brain_mask"].data.dtype == bool
    assert moved["brain_mask"].data.sum() * grid.voxel_volume_mm3 == pytest.approx(mask.sum() * 64, rel=0.03)
    assert moved["flair"].data.min() == 0
    assert moved["flair"].data.max() == 100


def test_change_mask_goes_by_its_own_space():
    to_image, to_flair = np.eye(4), np.eye(4)
    to_image[:3, 3], to_flair[:3, 3] = (4, 0, 0), (0, 8, 0)
    flair = Volume(np.random.default_rng(0).random(GRID.shape, dtype=np.float32), GRID.affine)
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[8, 8, 6] = True
    scan = RawScan(
        "ses-1",
        {"flair": flair},
        {name: Volume(mask, GRID.affine) for name in ("change_mask", "lesion_mask")},
        to_flair,
    )
    moved = resample_scan(scan, {"flair": to_image}, GRID, "flair")
    assert np.argwhere(moved["lesion_mask"].data).tolist() == [[7, 8, 6]]
    # Grid point + 4 mm in x is the FLAIR point; that minus 8 mm in y is the mask's point.
    assert np.argwhere(moved["change_mask"].data).tolist() == [[7, 10, 6]]


def test_first_contrast_must_be_there(head):
    scan = RawScan("ses-0", {"t1w": head}, {}, None)
    with pytest.raises(BadInput, match="ses-0: expected the contrast 'flair'"):
        register_patient([scan], ["flair", "t1w"], GRID, Choice(backend="plain", options={}))


def test_absurd_scaling_is_refused(head, monkeypatch):
    monkeypatch.setitem(registration.BACKENDS, "shrink", f"{__name__}:unused")
    monkeypatch.setattr(registration.backends, "load", lambda table, name: lambda *_, options: np.diag([2.0, 2, 2, 1]))
    with pytest.raises(BadInput, match=r"expected a brain of 0\.4 to 1\.5 template volumes, got 8\.00"):
        register_patient(
            [RawScan("ses-0", {"t1w": head}, {}, None)], ["t1w"], GRID, Choice(backend="shrink", options={})
        )


def test_two_coils_leave_the_same_head(head):
    x, y, z = (np.linspace(-1, 1, size) for size in head.data.shape)
    one = np.exp(0.5 * x[:, None, None] + 0.3 * z[None, None, :])
    other = np.exp(-0.4 * y[None, :, None] + 0.2 * x[:, None, None])
    inside = np.asarray(head.data) > 200
    seen = [head.data * field for field in (one, other)]
    evened = [np.asarray(even(Volume(data.astype(np.float32), head.affine)).data) for data in seen]

    def spread(images):
        return float(np.std(np.log(images[0][inside] / images[1][inside])))

    assert spread(seen) > 0.15
    assert spread(evened) < 0.5 * spread(seen)


def test_evening_keeps_edges_and_scale(head):
    data = np.asarray(head.data)
    evened = np.asarray(even(head).data)
    inside = data > 0
    assert np.corrcoef(data[inside], evened[inside])[0, 1] > 0.9
    assert evened[inside].mean() == pytest.approx(data[inside].mean(), rel=0.1)
    assert (evened[data == 0] == 0).all()
