"""The U-Net of SynthSeg in Keras, with the layer names under which its weights are published.

Billot et al., Medical Image Analysis 86, 2023; github.com/BBillot/SynthSeg (Apache-2.0). Down: per level, convolutions
3 x 3 x 3 with ELU, then batch norm, then max pooling by 2. Up: nearest-neighbour upsampling by 2, behind the output of
the same level's last convolution (before its batch norm), then convolutions and batch norm. Last a convolution
1 x 1 x 1 and a softmax over the labels. Weights are set by name, so that files written by the Keras of 2019 are read as
well as today's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from msdiff.errors import BadInput

# Of a layer's weights, in the order in which Keras lists them.
KINDS = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")

# Layer -> kind of KINDS -> array.
Weights = Mapping[str, Mapping[str, NDArray[np.float32]]]


class Size(NamedTuple):
    """What distinguishes one network of this kind from another; features double from level to level."""

    features: int
    levels: int
    convolutions: int
    labels: int


def build(features: int, levels: int, convolutions: int, labels: int) -> Any:
    """The network as a keras.Model: image (B, X, Y, Z, 1) in [0, 1] to posteriors (B, X, Y, Z, labels).

    Sides must be multiples of 2 ** (levels - 1). The published network has 24 features, 5 levels, 2 convolutions.
    """
    import keras
    from keras import layers

    def level(tensor: Any, depth: int, names: tuple[str, str]) -> tuple[Any, Any]:
        """The output of the last convolution, and of the batch norm behind it."""
        convolution, norm = names
        for number in range(convolutions):
            tensor = layers.Conv3D(
                features * 2**depth, 3, padding="same", activation="elu", name=f"unet_{convolution}_{number}"
            )(tensor)
        return tensor, layers.BatchNormalization(name=f"unet_{norm}")(tensor)

    image = layers.Input((None, None, None, 1), name="unet_input")
    skips, tensor = [], image
    for depth in range(levels):
        if depth:
            tensor = layers.MaxPooling3D(2, padding="same", name=f"unet_maxpool_{depth - 1}")(tensor)
        skip, tensor = level(tensor, depth, (f"conv_downarm_{depth}", f"bn_down_{depth}"))
        skips.append(skip)
    for step, depth in enumerate(reversed(range(levels - 1))):
        number = levels + step
        tensor = layers.UpSampling3D(2, name=f"unet_up_{number}")(tensor)
        tensor = layers.Concatenate(name=f"unet_merge_{number}")([skips[depth], tensor])
        _, tensor = level(tensor, depth, (f"conv_uparm_{number}", f"bn_up_{step}"))
    likelihood = layers.Conv3D(labels, 1, name="unet_likelihood")(tensor)
    return keras.Model(image, layers.Softmax(name="unet_prediction")(likelihood), name="unet")


def read_weights(path: str | Path) -> dict[str, dict[str, NDArray[np.float32]]]:
    """The weights of an .h5 file in the layout of Keras 2 (`save` or `save_weights`), by layer and kind.

    Raises BadInput where the file is no HDF5 file.
    """
    import h5py

    found: dict[str, dict[str, NDArray[np.float32]]] = {}

    def collect(name: str, item: Any) -> None:
        # {layer}/{layer}/{kind}:0; `save` puts these under model_weights and the optimiser's beside them.
        steps = name.removeprefix("model_weights/").split("/")
        kind = steps[-1].partition(":")[0]
        if isinstance(item, h5py.Dataset) and kind in KINDS and not name.startswith("optimizer_weights"):
            found.setdefault(steps[0], {})[kind] = np.asarray(item, dtype=np.float32)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(collect)
    except OSError as error:
        raise BadInput(f"{path}: expected Keras weights (.h5), cannot read them ({error})") from error
    return found


def size_of(weights: Weights, path: str | Path) -> Size:
    """The size of the network that weights belong to; BadInput where they are of another kind."""
    try:
        features = weights["unet_conv_downarm_0_0"]["kernel"].shape[-1]
        labels = weights["unet_likelihood"]["kernel"].shape[-1]
    except KeyError as error:
        raise BadInput(
            f"{path}: expected weights of SynthSeg's U-Net (layers unet_conv_downarm_0_0 to unet_likelihood), found "
            f"no {error.args[0]} among {', '.join(sorted(weights)[:4]) or 'no layers'}; the robust, parcellation and "
            "quality networks are other ones"
        ) from error
    levels = sum(name.startswith("unet_bn_down_") for name in weights)
    convolutions = sum(name.startswith("unet_conv_downarm_0_") for name in weights)
    return Size(features, levels, convolutions, labels)


def set_weights(model: Any, weights: Weights, path: str | Path) -> None:
    """Give every layer of a network its weights by name; BadInput unless each is there in its shape."""
    for layer in model.layers:
        if not layer.weights:
            continue
        given = weights.get(layer.name, {})
        wanted = {variable.name: tuple(variable.shape) for variable in layer.weights}
        shapes = {kind: array.shape for kind, array in given.items()}
        if shapes != wanted:
            raise BadInput(f"{path}: layer {layer.name}: expected weights {wanted}, found {shapes or 'none'}")
        layer.set_weights([given[kind] for kind in wanted])


def load_network(path: str | Path) -> tuple[Any, Size]:
    """The network with the weights of a file, and its size; BadInput where they are not of this network."""
    weights = read_weights(path)
    size = size_of(weights, path)
    model = build(*size)
    set_weights(model, weights, path)
    return model, size
