import torch

from msdiff.networks.padding import pad_to_multiple


def test_image_that_fits_is_left_as_it_is():
    image = torch.randn(1, 1, 8, 16)
    assert pad_to_multiple(image, 8) is image


def test_last_rows_and_columns_are_repeated():
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    padded = pad_to_multiple(image, 4)
    assert padded.shape == (1, 1, 4, 4)
    assert torch.equal(padded[..., :2, :3], image)
    assert padded[0, 0, :, 3].tolist() == [2, 5, 5, 5]
