"""Weights as SynthSeg publishes them; these tests run where TensorFlow is installed, and are skipped elsewhere."""

import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """TensorFlow takes its number of threads before its first operation only."""
    from msdiff.parcellation.synthseg import start_tensorflow

    start_tensorflow(1)


@pytest.fixture(scope="session")
def write_legacy():
    """A function that writes a network's weights in the layout of Keras 2, and returns the path.

    `save` puts them under model_weights, `save_weights` not.
    """
    import h5py

    def write(path, model, prefix="model_weights", suffix=":0"):
        with h5py.File(path, "w") as file:
            group = file.require_group(prefix) if prefix else file
            group.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
            group.attrs["backend"], group.attrs["keras_version"] = b"tensorflow", b"2.3.1"
            for layer in model.layers:
                names = [f"{layer.name}/{variable.name}{suffix}" for variable in layer.weights]
                own = group.create_group(layer.name)
                own.attrs["weight_names"] = [name.encode() for name in names]
                for name, variable in zip(names, layer.weights, strict=True):
                    own.create_dataset(name, data=np.asarray(variable))
            file.require_group("optimizer_weights").create_dataset("unet_likelihood/kernel:0", data=np.zeros(3))
        return path

    return write
