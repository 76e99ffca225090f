from pathlib import Path

import numpy as np
import pytest

from msdiff.config_files import merged_config
from msdiff.parcellation.label_maps import CODES, POSITIONS, LabelMap
from msdiff.parcellation.painting import (
    IS_WHITE,
    PaintingSettings,
    acquisition,
    choose_intensities,
    paint,
    simulate_lesions,
)
from msdiff.settings import check

ROOT = Path(__file__).parents[3]
SIDE = 48


@pytest.fixture(scope="module")
def head():
    """Left and right halves: a box of white matter with a ventricle, a shell of cortex, fluid, skin."""
    codes = np.zeros((SIDE, SIDE, SIDE), dtype=np.uint8)
    for margin, left, right in ((4, 511, 511), (7, 24, 24), (9, 3, 42), (13, 2, 41), (21, 4, 43)):
        inner = slice(margin, SIDE - margin)
        codes[margin : SIDE // 2, inner, inner] = POSITIONS[left]
        codes[SIDE // 2 : SIDE - margin, inner, inner] = POSITIONS[right]
    distances = np.full(codes.shape, 5, dtype=np.uint8)
    return LabelMap("box", codes, distances, np.array([[9.0] * 3, [SIDE - 10.0] * 3]), False)


@pytest.fixture(scope="module")
def settings():
    section = merged_config(size="paper")["parcellation"]["training"]["painting"]
    return check(PaintingSettings, section | {"crop_voxels": [32]})


def still(settings, **changes):
    """No turning, bending, blur, noise or anything else that is random beside the intensities."""
    calm = {
        "wander_mm": 0.0,
        "rotation_degrees": 0.0,
        "scale": (1.0, 1.0),
        "scale_spread": 0.0,
        "warp_mm": 0.0,
        "flip": 0.0,
        "grain": (0.0, 0.0),
        "texture": 0.0,
        "bias": 0.0,
        "stripped_share": 0.0,
        "blur_mm": (0.0, 0.0),
        "thick_share": 0.0,
        "noise": 0.0,
        "gamma": 0.0,
        "gain": (1.0, 1.0),
        "crop_voxels": (SIDE,),
        "lesions": settings.lesions.model_copy(update={"share": 0.0}),
    }
    return settings.model_copy(update=calm | changes)


def test_same_seed_same_image(head, settings):
    first, second = (paint(head, settings, np.random.default_rng(4)) for _ in range(2))
    other = paint(head, settings, np.random.default_rng(5))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.codes, second.codes)
    assert not np.array_equal(first.image, other.image)


def test_images_are_finite_and_within_bounds(head, settings):
    for seed in range(20):
        image = paint(head, settings, np.random.default_rng(seed)).image
        assert image.shape == (32, 32, 32)
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 1


def test_undisturbed_crop_is_the_map_and_each_structure_has_one_intensity(head, settings):
    painted = paint(head, still(settings), np.random.default_rng(0))
    assert np.array_equal(painted.codes, head.codes)
    for position in np.unique(head.codes):
        assert np.ptp(painted.image[head.codes == position]) < 1e-6
    # Left and right of a structure look alike.
    left, right = (painted.image[head.codes == POSITIONS[code]].mean() for code in (3, 42))
    assert left == pytest.approx(right)


def test_mirrored_crop_is_the_mirrored_map(head, settings):
    painted = paint(head, still(settings, flip=1.0), np.random.default_rng(0))
    assert painted.mirrored
    assert np.array_equal(painted.codes, head.codes[::-1])


def test_larger_scale_makes_structures_larger(head, settings):
    white = [
        np.isin(
            paint(head, still(settings, scale=(s, s)), np.random.default_rng(0)).codes, np.flatnonzero(IS_WHITE)
        ).sum()
        for s in (0.8, 1.0, 1.2)
    ]
    assert white[1] / white[0] == pytest.approx(1.25**3, rel=0.1)
    assert white[2] / white[1] == pytest.approx(1.2**3, rel=0.1)


def test_coarser_voxels_see_more_of_the_map(head, settings):
    fine = paint(head, still(settings, crop_voxels=(16,)), np.random.default_rng(0)).codes
    coarse = paint(head, still(settings, crop_voxels=(16,), spacing_mm=3.0), np.random.default_rng(0)).codes
    assert 0 not in fine
    assert 0 in coarse


@pytest.mark.parametrize(("contrast", "order"), [("t1w", (24, 3, 2)), ("t2w", (2, 3, 24)), ("flair", (24, 2, 3))])
def test_contrasts_order_the_tissues(settings, contrast, order):
    one = settings.model_copy(
        update={"contrasts": {contrast: settings.contrasts[contrast]}, "random_share": 0.0, "contrast_spread": 0.0}
    )
    means, lesion = choose_intensities(one, np.random.default_rng(1))
    a, b, c = (means[POSITIONS[code]] for code in order)
    assert a < b < c
    assert (lesion < means[POSITIONS[2]]) == (contrast == "t1w")


def test_random_contrasts_come_in_any_order(settings):
    anything = settings.model_copy(update={"random_share": 1.0})
    draws = [choose_intensities(anything, np.random.default_rng(seed))[0] for seed in range(60)]
    orders = {tuple(np.argsort([means[POSITIONS[code]] for code in (24, 3, 2)])) for means in draws}
    assert len(orders) == 6


def test_lesions_lie_in_white_matter_keep_its_code_and_have_their_own_intensity(head, settings):
    lesions = settings.lesions.model_copy(update={"share": 1.0, "count": (60, 61)})
    flair = {"contrasts": {"flair": settings.contrasts["flair"]}, "random_share": 0.0, "contrast_spread": 0.0}
    painted = paint(head, still(settings, lesions=lesions, **flair), np.random.default_rng(2))
    assert painted.lesions.any()
    assert IS_WHITE[painted.codes[painted.lesions]].all()
    white = IS_WHITE[painted.codes] & ~painted.lesions
    assert painted.image[painted.lesions].mean() > 1.1 * painted.image[white].mean()


def test_lesions_gather_at_the_ventricles(head, settings):
    x = np.arange(SIDE)
    distances = np.broadcast_to(np.abs(x - 13)[:, None, None], (SIDE,) * 3).astype(np.uint8)
    near = settings.lesions.model_copy(
        update={"share": 1.0, "count": (900, 901), "elsewhere": 0.0, "ventricle_mm": 3.0, "radius_mm": 1.0}
    )
    found = simulate_lesions(head.codes, distances, near, 1.0, np.random.default_rng(0))
    assert distances[found].mean() < 0.5 * distances[IS_WHITE[head.codes]].mean()


def test_half_the_head_holds_half_the_lesions(head, settings):
    many = settings.lesions.model_copy(
        update={"share": 1.0, "count": (4000, 4001), "radius_mm": 0.4, "radius_spread": 0.0}
    )
    half = head.codes.copy()
    half[: SIDE // 2] = 0
    whole, part = (
        simulate_lesions(codes, head.ventricle_mm, many, 1.0, np.random.default_rng(0)).sum()
        for codes in (head.codes, half)
    )
    assert part / whole == pytest.approx(0.5, abs=0.1)


def test_stripped_images_are_empty_outside_the_brain(head, settings):
    painted = paint(head, still(settings, stripped_share=1.0, rim_share=0.0), np.random.default_rng(0))
    outside = np.isin(np.array(list(CODES))[painted.codes], (0, 24, 511))
    assert np.all(painted.image[outside] == 0)
    assert painted.image[~outside].max() > 0
    rim = paint(head, still(settings, stripped_share=1.0, rim_share=1.0), np.random.default_rng(0))
    assert rim.image[rim.codes == POSITIONS[24]].max() > 0
    assert np.all(rim.image[rim.codes == POSITIONS[511]] == 0)


def test_thick_slices_blur_their_axis_only(head, settings):
    thick = still(settings, thick_share=1.0, thickness_mm=(5.0, 5.0), axial_share=1.0, spacing_mm=1.0)
    sharp = still(settings, spacing_mm=1.0)
    images = [paint(head, choice, np.random.default_rng(0)).image for choice in (sharp, thick)]
    roughness = [[np.abs(np.diff(image, axis=axis)).max() for axis in range(3)] for image in images]
    assert roughness[1][2] < 0.6 * roughness[0][2]
    assert roughness[1][0] > 0.8 * roughness[0][0]


def test_acquisition_keeps_constants_and_the_mean_of_a_line():
    for thickness in (0.0, 3.0, 5.0):
        matrix = acquisition(30, 1.5, 0.7, thickness)
        assert matrix.shape == (30, 30)
        assert matrix.sum(axis=1) == pytest.approx(1)
    ramp = np.arange(30.0)
    assert acquisition(30, 1.0, 0.7, 4.0)[5:-5] @ ramp == pytest.approx(ramp[5:-5], abs=0.3)


def test_acquisition_has_the_slice_profile_asked_for():
    impulse = np.zeros(61)
    impulse[30] = 1
    blurred = acquisition(61, 1.0, 2.0, 0.0).astype(float) @ impulse
    spread = np.sqrt((blurred * (np.arange(61) - 30) ** 2).sum() / blurred.sum())
    assert spread == pytest.approx(2.0, rel=0.01)
