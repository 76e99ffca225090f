"""Start a training from another one's weights: another cohort's, or the embedded one's before real scans."""

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from msdiff.errors import BadInput
from msdiff.networks.weights import load_weights, sha256
from msdiff.settings import check
from msdiff.synthesis.long_ms_diff.conditions import Statistics
from msdiff.synthesis.long_ms_diff.options import LongMSDiffSettings

# Under others of these the same weights would mean something else.
ALIKE = ("network", "scalars", "conditions", "target", "objective.prediction", "variance.backend")


class Pretrained(NamedTuple):
    """Tensors of the network, statistics of its conditions, and the digest of the file."""

    tensors: dict[str, Tensor]
    statistics: Statistics
    sha256: str


def read_pretrained(path: str | Path, settings: LongMSDiffSettings) -> Pretrained:
    """The weights to start from; BadInput where they are not a Long-MS-Diff's of the settings' network and target."""
    tensors, description = load_weights(path)
    if description.get("generator") != settings.generator:
        raise BadInput(
            f"{path}: expected weights of a {settings.generator}, got those of a "
            f"{description.get('generator') or description.get('kind', 'something else')!r}; correct pretrained"
        )
    trained = check(LongMSDiffSettings, description["settings"], str(path))
    for key in ALIKE:
        expected, got = (_value(values.model_dump(mode="json"), key) for values in (settings, trained))
        if expected != got:
            raise BadInput(
                f"{path}: expected weights trained with {key} {expected}, got {got}; change {key}, or pretrained"
            )
    return Pretrained(tensors, description["statistics"], sha256(path))


def _value(values: object, key: str) -> object:
    for name in key.split("."):
        assert isinstance(values, dict)
        values = values[name]
    return sorted(values) if key == "conditions" and isinstance(values, list) else values
