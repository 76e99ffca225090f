"""Images and volumes of any size through networks that halve them."""

from torch import Tensor
from torch.nn import functional


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """The image (B, C, ...) with its end repeated along each of one to three spatial axes until all are multiples.

    Returns the image itself if they are. `cropped` undoes it.
    """
    missing = [-size % multiple for size in image.shape[2:]]
    if not any(missing):
        return image
    # torch wants the last axis first, and of each its start and its end.
    widths = [width for end in reversed(missing) for width in (0, end)]
    return functional.pad(image, widths, mode="replicate")


def cropped(image: Tensor, like: Tensor) -> Tensor:
    """The start of a padded image (B, C, ...) along each spatial axis, of the sizes of `like` (B, ..., ...)."""
    for axis, size in enumerate(like.shape[2:], start=2):
        image = image.narrow(axis, 0, size)
    return image
