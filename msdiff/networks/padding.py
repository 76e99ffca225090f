"""Images of any size through networks that halve them."""

from torch import Tensor
from torch.nn import functional


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """The image (B, C, H, W), its last rows and columns repeated until both sides are multiples; itself if they are."""
    rows, columns = -image.shape[-2] % multiple, -image.shape[-1] % multiple
    if rows == columns == 0:
        return image
    return functional.pad(image, (0, columns, 0, rows), mode="replicate")
