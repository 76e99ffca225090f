"""The shipped weights give in Keras what they give in PyTorch, which tests/unit/parcellation holds to the same file."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="TensorFlow is not installed; make environment-synthseg")

from msdiff.parcellation.synthseg import SHIPPED, description
from msdiff.parcellation.synthseg_network import load_network

REFERENCE = Path(__file__).parent / "shipped_posteriors.npy"


def example():
    """As in tests/unit/parcellation/test_shipped_weights.py."""
    x, y, z = np.meshgrid(*[np.linspace(0, 1, 32)] * 3, indexing="ij")
    return (0.5 + 0.25 * np.sin(9 * x + 4 * y) + 0.25 * np.cos(7 * y - 5 * z)).astype(np.float32)


def test_keras_gives_what_pytorch_gives():
    network, size = load_network(str(SHIPPED))
    assert len(description(Path(str(SHIPPED)), size.labels)[0]) == size.labels
    posteriors = np.moveaxis(np.asarray(network(example()[None, ..., None]))[0], -1, 0)
    assert posteriors[:, ::5, ::5, ::5] == pytest.approx(np.load(REFERENCE), abs=1e-4)
