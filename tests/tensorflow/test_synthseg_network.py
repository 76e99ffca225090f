"""The Keras network and its files; run where TensorFlow is installed (`make test` makes such an environment)."""

import numpy as np
import pytest

from msdiff.errors import BadInput

keras = pytest.importorskip("keras", reason="TensorFlow is not installed; make environment-synthseg")
h5py = pytest.importorskip("h5py")

from msdiff.parcellation.synthseg_network import Size, build, load_network, read_weights  # noqa: E402

SMALL = Size(features=2, levels=3, convolutions=2, labels=33)


@pytest.fixture(scope="module")
def small():
    """A small network with random weights, statistics of its batch norms included."""
    keras.utils.set_random_seed(0)
    model = build(*SMALL)
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if "_bn_" in layer.name:
            layer.set_weights([generator.uniform(0.5, 1.5, array.shape) for array in layer.get_weights()])
    return model


def test_published_size_and_names():
    model = build(24, 5, 2, 33)
    # The official synthseg_2.0.h5 has 53,079,152 bytes: these weights in single precision, and 100 kB of HDF5.
    assert 4 * model.count_params() == 52_971_396
    names = [layer.name for layer in model.layers]
    assert names[:5] == [
        "unet_input",
        "unet_conv_downarm_0_0",
        "unet_conv_downarm_0_1",
        "unet_bn_down_0",
        "unet_maxpool_0",
    ]
    assert names[-7:] == [
        "unet_up_8",
        "unet_merge_8",
        "unet_conv_uparm_8_0",
        "unet_conv_uparm_8_1",
        "unet_bn_up_3",
        "unet_likelihood",
        "unet_prediction",
    ]
    assert model.get_layer("unet_conv_uparm_5_0").kernel.shape == (3, 3, 3, 192 + 384, 192)


def test_output_is_that_of_the_published_graph(small):
    """The same numbers from plain numpy: convolution, ELU, batch norm, pooling, skips before the norm and in front."""
    from scipy import ndimage

    weights = {layer.name: layer.get_weights() for layer in small.layers}

    def convolve(maps, name):
        kernel, bias = weights[name]
        return np.stack(
            [
                sum(
                    ndimage.correlate(channel, kernel[..., k, out], mode="constant")
                    for k, channel in enumerate(np.moveaxis(maps, -1, 0))
                )
                + bias[out]
                for out in range(kernel.shape[-1])
            ],
            axis=-1,
        )

    def block(maps, names, norm):
        for name in names:
            maps = convolve(maps, name)
            maps = np.where(maps > 0, maps, np.expm1(maps))
        gamma, beta, mean, variance = weights[norm]
        return maps, (maps - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    image = np.random.default_rng(1).random((8, 12, 4, 1))
    skips, maps = [], image
    for depth in range(3):
        if depth:
            x, y, z, channels = maps.shape
            maps = maps.reshape(x // 2, 2, y // 2, 2, z // 2, 2, channels).max(axis=(1, 3, 5))
        names = [f"unet_conv_downarm_{depth}_{k}" for k in range(2)]
        skip, maps = block(maps, names, f"unet_bn_down_{depth}")
        skips.append(skip)
    for step, depth in enumerate((1, 0)):
        maps = np.concatenate([skips[depth], maps.repeat(2, 0).repeat(2, 1).repeat(2, 2)], axis=-1)
        names = [f"unet_conv_uparm_{3 + step}_{k}" for k in range(2)]
        _, maps = block(maps, names, f"unet_bn_up_{step}")
    likelihood = np.exp(convolve(maps, "unet_likelihood"))
    expected = likelihood / likelihood.sum(axis=-1, keepdims=True)
    found = np.asarray(small(image[None].astype(np.float32), training=False))[0]
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize(("prefix", "suffix"), [("model_weights", ":0"), ("", ":0"), ("model_weights", "")])
def test_legacy_files_are_read(small, tmp_path, write_legacy, prefix, suffix):
    path = write_legacy(tmp_path / "w.h5", small, prefix, suffix)
    model, size = load_network(path)
    assert size == SMALL
    image = np.random.default_rng(2).random((1, 4, 8, 4, 1)).astype(np.float32)
    np.testing.assert_array_equal(model(image, training=False), small(image, training=False))


def test_other_networks_are_refused(small, tmp_path, write_legacy):
    path = write_legacy(tmp_path / "w.h5", small)
    with h5py.File(path, "a") as file:
        del file["model_weights/unet_bn_up_1"]
    with pytest.raises(BadInput, match=r"w.h5: layer unet_bn_up_1: expected weights .*'gamma': \(2,\).*found none"):
        load_network(path)
    path = write_legacy(tmp_path / "v.h5", build(3, 3, 2, 33))
    with h5py.File(path, "a") as file:
        del file["model_weights/unet_conv_uparm_4_0/unet_conv_uparm_4_0/kernel:0"]
        file["model_weights/unet_conv_uparm_4_0/unet_conv_uparm_4_0/kernel:0"] = np.zeros((3, 3, 3, 8, 3))
    with pytest.raises(BadInput, match=r"unet_conv_uparm_4_0: expected .*\(3, 3, 3, 9, 3\).*found .*\(3, 3, 3, 8, 3\)"):
        load_network(path)
    with h5py.File(tmp_path / "u.h5", "w") as file:
        file["unet2_conv_downarm_0_0/unet2_conv_downarm_0_0/kernel:0"] = np.zeros((3, 3, 3, 2, 24))
    with pytest.raises(BadInput, match="expected weights of SynthSeg's U-Net"):
        load_network(tmp_path / "u.h5")
    (tmp_path / "t.h5").write_text("<html>")
    with pytest.raises(BadInput, match=r"t.h5: expected Keras weights \(.h5\), cannot read them"):
        read_weights(tmp_path / "t.h5")
