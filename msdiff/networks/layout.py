"""Where a network's weights lie in memory."""

from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def on(module: M, device: torch.device) -> M:
    """The module on a device, its channels last, as accelerators want them; of volumes if any kernel is of volumes."""
    volumes = any(parameter.dim() == 5 for parameter in module.parameters())
    layout = torch.channels_last_3d if volumes else torch.channels_last
    return module.to(device, memory_format=layout)  # type: ignore[call-overload,no-any-return]
