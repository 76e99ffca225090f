import pytest
import torch

from msdiff.networks.padding import cropped, pad_to_multiple


@pytest.mark.parametrize("shape", [(16,), (8, 16), (8, 16, 24)])
def test_image_that_fits_is_left_as_it_is(shape):
    image = torch.randn(1, 1, *shape)
    assert pad_to_multiple(image, 8) is image


def test_last_rows_and_columns_are_repeated():
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    padded = pad_to_multiple(image, 4)
    assert padded.shape == (1, 1, 4, 4)
    assert torch.equal(padded[..., :2, :3], image)
    assert padded[0, 0, :, 3].tolist() == [2, 5, 5, 5]


@pytest.mark.parametrize(("shape", "expected"), [((5,), (8,)), ((5, 9), (8, 12)), ((3, 8, 13), (4, 8, 16))])
def test_signals_images_and_volumes_of_odd_sizes_are_padded_at_their_ends_and_cropped_again(shape, expected):
    image = torch.randn(2, 3, *shape)
    padded = pad_to_multiple(image, 4)
    assert padded.shape == (2, 3, *expected)
    assert torch.equal(cropped(padded, image), image)
    for axis, (size, wanted) in enumerate(zip(shape, expected, strict=True), start=2):
        last = padded.narrow(axis, size - 1, 1)
        assert torch.equal(
            padded.narrow(axis, size, wanted - size), last.expand_as(padded.narrow(axis, size, wanted - size))
        )
