"""Detectors of change by name. Each takes two images of one slice (B, 1, H, W) and returns logits (B, 1, H, W)."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from msdiff.errors import BadSettings
from msdiff.networks.bitemporal_unet import BitemporalUNet, BitemporalUNetSettings
from msdiff.networks.siamese_transformer import SiameseTransformer, SiameseTransformerSettings, start_from_pretrained
from msdiff.networks.weights import load_weights_of
from msdiff.settings import check


def _unet(options: object, fresh: bool) -> nn.Module:
    return BitemporalUNet(check(BitemporalUNetSettings, options, "network unet"))


def _bit_resnet50(options: object, fresh: bool) -> nn.Module:
    network = SiameseTransformer(check(SiameseTransformerSettings, options, "network bit_resnet50"))
    if fresh and network.settings.pretrained is not None:
        start_from_pretrained(network.backbone, network.settings.pretrained)
    return network


DETECTORS: Mapping[str, Callable[[object, bool], nn.Module]] = {"unet": _unet, "bit_resnet50": _bit_resnet50}


def build(name: str, options: object, fresh: bool = False) -> nn.Module:
    """The detector of that name and those sizes, in training mode.

    `fresh`: it is about to be trained, and starts from pretrained weights where its options name any; a network whose
    weights are about to be loaded needs no such file.

    Raises BadSettings where the name or an option is unknown, missing or out of range.
    """
    if name not in DETECTORS:
        raise BadSettings(f"detector: expected one of {', '.join(DETECTORS)}, got {name!r}")
    return DETECTORS[name](options, fresh)


def load_detector(path: str | Path) -> tuple[nn.Module, str]:
    """The detector in a weights file, in evaluation mode, and the contrast it reads; BadInput where it is none."""
    tensors, description = load_weights_of("detector", path)
    network = build(description["architecture"], description["network"])
    network.load_state_dict(tensors)
    return network.eval(), description["contrast"]
