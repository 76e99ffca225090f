"""Weights of the PyTorch network as the Keras file of SynthSeg: the published layer names, the layout of Keras 2.

Beside FILE.h5 stands FILE.json: labels in the order of the posteriors, spacing, sizes, what it was trained on, and the
SHA-256 of FILE.h5.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msdiff.errors import BadInput
from msdiff.networks.synthseg_unet import SynthSegSettings, SynthSegUNet
from msdiff.networks.weights import sha256
from msdiff.parcellation.synthseg_network import read_weights, size_of
from msdiff.settings import check
from msdiff.writing import whole_file


def export(tensors: dict[str, Tensor], description: dict[str, Any], path: str | Path) -> None:
    """Write the weights `tensors` of a described network to `path` (.h5), and the description beside it (.json)."""
    import h5py

    storage = np.dtype(description["storage"])
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        layers = build(tensors, description).published()
        file.attrs["layer_names"] = np.array(list(layers), dtype="S")
        file.attrs["backend"] = np.bytes_("tensorflow")
        file.attrs["keras_version"] = np.bytes_("2.3.1")
        for layer, arrays in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = np.array([f"{layer}/{kind}:0" for kind in arrays], dtype="S")
            for kind, tensor in arrays.items():
                # Kernels are nearly all of the weights; the rest stays in single precision.
                array = tensor.detach().numpy().astype(storage if kind == "kernel" else np.float32)
                group.create_dataset(f"{layer}/{kind}:0", data=array)
    with whole_file(Path(path).with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({**description, "sha256": sha256(path)}, indent=1, sort_keys=True) + "\n")


def build(tensors: dict[str, Tensor], description: dict[str, Any]) -> SynthSegUNet:
    """The described network with these weights, in evaluation mode."""
    labels = len(description["labels"])
    settings = check(SynthSegSettings, description["network"], "description of the weights")
    network = SynthSegUNet(settings, np.full(labels, 1 / labels), 0)
    network.load_state_dict(tensors)
    return network.eval()


def load_published(path: str | Path) -> tuple[SynthSegUNet, dict[str, Any]]:
    """The PyTorch network with the weights of an exported file, in evaluation mode, and the file's description.

    Raises BadInput where the file or its description is missing or of another network.
    """
    beside = Path(path).with_suffix(".json")
    if not beside.is_file():
        raise BadInput(f"{beside}: no such description of {path}; export the weights again, or correct the path")
    description = json.loads(beside.read_text())
    weights = read_weights(path)
    size = size_of(weights, path)
    settings = SynthSegSettings(features=size.features, levels=size.levels, convolutions=size.convolutions)
    network = SynthSegUNet(settings, np.full(size.labels, 1 / size.labels), 0)
    network.set_published(
        {layer: {k: torch.from_numpy(v) for k, v in kinds.items()} for layer, kinds in weights.items()}
    )
    return network.eval(), description
