"""The weights that the package ships: whole, truly described, and better than chance on heads they never saw.

tests/tensorflow/shipped_posteriors.npy holds what the PyTorch network gives for `example()`; the Keras network is held
to the same numbers there. After new weights write it again: python tests/unit/parcellation/test_shipped_weights.py
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from msdiff.config_files import merged_config
from msdiff.networks.weights import sha256
from msdiff.parcellation.keras_weights import load_published
from msdiff.parcellation.label_maps import POSITIONS, phantom_codes
from msdiff.parcellation.learning import LABELS, ParcellatorSettings, dice_of, summed_over_tissues, target_of
from msdiff.parcellation.painting import Painted, PaintingSettings, choose_intensities, degrade, fill
from msdiff.parcellation.synthseg import SHIPPED
from msdiff.settings import check

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "tests/tensorflow/shipped_posteriors.npy"
PATH = Path(str(SHIPPED))


def example():
    """An image (32, 32, 32) of smooth noise in [0, 1]; also in tests/tensorflow/test_shipped_weights.py."""
    x, y, z = np.meshgrid(*[np.linspace(0, 1, 32)] * 3, indexing="ij")
    return (0.5 + 0.25 * np.sin(9 * x + 4 * y) + 0.25 * np.cos(7 * y - 5 * z)).astype(np.float32)


def posteriors():
    network, _ = load_published(PATH)
    with torch.no_grad():
        return torch.softmax(network(torch.from_numpy(example())[None, None]), dim=1)[0].numpy()


def config():
    base = merged_config(size="paper")["parcellation"]["training"]
    overlay = yaml.safe_load((ROOT / "profiles/local/parcellator_cpu.yaml").read_text())["parcellation"]["training"]
    return {
        name: {**value, **overlay.get(name, {})} if isinstance(value, dict) else overlay.get(name, value)
        for name, value in base.items()
    }


def test_description_is_true():
    _, told = load_published(PATH)
    assert told["sha256"] == sha256(PATH)
    assert told["labels"] == list(LABELS)
    assert PATH.stat().st_size < 10e6
    network, _ = load_published(PATH)
    assert len(network.down) == told["network"]["levels"]
    assert network.down[0][0].out_channels == told["network"]["features"]
    assert not set(told["training"]["label_maps"]) & set(told["training"]["held_out"])


def test_overlay_holds_the_settings_that_made_them():
    _, told = load_published(PATH)
    recorded = check(ParcellatorSettings, {**told["training"]["settings"], "label_maps": None})
    assert check(ParcellatorSettings, config()) == recorded
    assert told["spacing_mm"] == recorded.painting.spacing_mm


def test_pytorch_gives_the_reference():
    assert posteriors()[:, ::5, ::5, ::5] == pytest.approx(np.load(REFERENCE), abs=1e-4)


@pytest.mark.parametrize("contrast", ["flair", "t1w"])
def test_finds_white_matter_in_a_head_made_here(contrast):
    """The phantom's head, painted; 5 % of the training's crops were of it, told apart by tissue only."""
    codes = atlas_codes()
    painting = check(PaintingSettings, config()["painting"])
    settings = painting.model_copy(
        update={"contrasts": {contrast: painting.contrasts[contrast]}, "random_share": 0.0, "stripped_share": 0.0}
    )
    rng = np.random.default_rng(0)
    none = np.zeros(codes.shape, dtype=bool)
    intensities, lesion = choose_intensities(settings, rng)
    image = degrade(fill(codes, none, intensities, lesion, settings, rng), settings, rng)
    network, _ = load_published(PATH)
    with torch.no_grad():
        logarithms = torch.log_softmax(network(torch.from_numpy(image)[None, None])[0].flatten(1), dim=0)
    found = summed_over_tissues(logarithms).argmax(dim=0)
    target = torch.from_numpy(target_of(Painted(image, codes, none, False), True)).flatten()
    dice = {name: dice_of(found, target, number) for number, name in enumerate(("background", "csf", "grey", "white"))}
    share = float((target == 3).float().mean())
    # Guessing white matter everywhere gives this.
    chance = 2 * share / (1 + share)
    assert dice["white"] > FLOOR > 1.5 * chance


FLOOR = 0.6


def atlas_codes():
    """The phantom's head of 2 mm (128, 128, 128), at the 1.5 mm of the network, around the middle of the brain."""
    codes = phantom_codes(2)
    brain = np.argwhere(np.isin(codes, [POSITIONS[code] for code in (2, 3, 41, 42)]))
    centre = (brain.min(axis=0) + brain.max(axis=0)) / 2
    axes = [np.rint(middle + (np.arange(128) - 63.5) * 0.75).astype(int) for middle in centre]
    inside = [np.clip(axis, 0, size - 1) for axis, size in zip(axes, codes.shape, strict=True)]
    return codes[np.ix_(*inside)]


if __name__ == "__main__":
    np.save(REFERENCE, posteriors()[:, ::5, ::5, ::5].astype(np.float32))
