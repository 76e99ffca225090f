import base64

import numpy as np
import pytest

from msdiff.reader_study.pictures import LEVELS, as_seen, box_of, packed_image, packed_mask


def unpacked(text, size):
    """A second reading: the bytes as one string of bits, cut by twelve."""
    bits = "".join(f"{byte:08b}" for byte in base64.b64decode(text))
    return np.array([int(bits[12 * place : 12 * place + 12], 2) for place in range(size)])


@pytest.mark.parametrize("shape", [(4, 6), (3, 5)])
def test_an_image_keeps_twelve_bits(shape):
    image = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float16)
    codes = unpacked(packed_image(image), image.size)
    assert np.abs(codes / (LEVELS - 1) * 2 - 1 - image.ravel()).max() <= 1 / (LEVELS - 1)
    assert unpacked(packed_image(np.array([[-1.0, 1.0]])), 2).tolist() == [0, LEVELS - 1]


def test_what_is_shown_takes_the_values_that_a_stack_can_hold():
    image = np.random.default_rng(1).uniform(-1, 1, (40, 40)).astype(np.float32)
    assert packed_image(image) == packed_image(image.astype(np.float16))


def test_a_mask_keeps_its_bits():
    mask = np.random.default_rng(2).random((5, 7)) > 0.5
    bits = np.unpackbits(np.frombuffer(base64.b64decode(packed_mask(mask)), np.uint8), count=35)
    assert (bits.reshape(5, 7) == mask).all()


def test_the_box_holds_all_masks_and_a_margin_within_the_slice():
    masks = np.zeros((2, 10, 12), dtype=bool)
    masks[0, 4, 3] = masks[1, 6, 10] = True
    assert box_of(masks, 2) == (slice(2, 9), slice(1, 12))
    assert box_of(np.zeros((1, 10, 12), dtype=bool), 2) == (slice(0, 10), slice(0, 12))


def test_radiologists_see_the_right_on_the_left():
    image = np.zeros((3, 4))
    # Most anterior and most to the right.
    image[2, 3] = 1
    assert np.argwhere(as_seen(image, "radiological")).tolist() == [[0, 0]]
    assert np.argwhere(as_seen(image, "neurological")).tolist() == [[0, 3]]
