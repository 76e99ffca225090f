"""SynthSeg in process: the published network and pipeline, with the official weights or our own.

Billot et al., SynthSeg: segmentation of brain MRI scans of any contrast and resolution without retraining, Medical
Image Analysis 86, 2023. synthseg_network.py builds the network, synthseg_steps.py does what comes before and after it.
TensorFlow lives in an environment of its own (`make environment-synthseg`).
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from msdiff.errors import BadInput
from msdiff.images import Grid, Volume
from msdiff.parcellation import synthseg_steps as steps
from msdiff.parcellation.regions import LABELS, MniScan
from msdiff.settings import Settings, check

log = logging.getLogger(__name__)

SHIPPED = files("msdiff.parcellation") / "weights/msdiff_synthseg.h5"
# FreeSurfer's repository records this digest for the file it installs as models/synthseg_2.0.h5.
OFFICIAL = {"f190bfd742f450ef3ca2c9df9ed4d2e0232b3a74471da5e51b7770bacdf80c3e": "the official synthseg_2.0.h5"}
WHERE_TO_GET = (
    "FreeSurfer installs the official one as $FREESURFER_HOME/models/synthseg_2.0.h5, and "
    "github.com/BBillot/SynthSeg tells where to get it; `weights: null` takes the ones that msdiff ships"
)
# The labels of the two official networks by their number, in the order of the posteriors: 1.0 knows no CSF (24).
LABEL_LISTS = {33: tuple(LABELS), 32: tuple(code for code in LABELS if code != 24)}
OFFICIAL_SPACING_MM = 1.0


class SynthSegOptions(Settings):
    """Options of `load`.

    weights    path of an .h5 file, or nothing for the shipped one
    sha256     digest that the file must have, or nothing
    contrasts  which one to look at, the first that the session has; else the first by name
    image      `heads` with the skull, or `normalised`, without
    margin_mm  around the brain's box, beyond which nothing is looked at
    fast       leave out mirror image and connected parts, as the published --fast
    """

    weights: str | None
    sha256: str | None = Field(pattern="^[0-9a-f]{64}$")
    contrasts: tuple[str, ...]
    image: Literal["heads", "normalised"]
    margin_mm: float = Field(ge=0)
    fast: bool


class Model(NamedTuple):
    """A network ready to run, the labels of its posteriors, its voxel size, and what its sides must divide by."""

    network: steps.Network
    labels: tuple[int, ...]
    spacing_mm: float
    multiple: int


def load(options: dict[str, object], threads: int) -> Callable[[MniScan], NDArray[np.int32]]:
    """The contract is in regions.py.

    Raises BadInput where the weights are missing, of another network, or not those of the digest asked for.
    """
    settings = check(SynthSegOptions, options, "parcellation.synthseg")
    path = weights_path(settings.weights)
    check_digest(path, settings.sha256 or told(path).get("sha256"))
    tensorflow = start_tensorflow(threads)
    from msdiff.parcellation.synthseg_network import load_network

    keras_model, size = load_network(path)
    labels, spacing_mm = description(path, size.labels)
    network = guarded(runner(tensorflow, keras_model), tensorflow)
    log.info("%s: %s, labels at %g mm", path, size, spacing_mm)
    model = Model(network, labels, spacing_mm, 2**size.levels)
    return lambda scan: parcellate(scan, model, settings)


def parcellate(scan: MniScan, model: Model, settings: SynthSegOptions) -> NDArray[np.int32]:
    """Labels (X, Y, Z) of a scan on its own grid."""
    images: dict[str, Volume] = getattr(scan, settings.image)
    contrast = next((name for name in settings.contrasts if name in images), sorted(images)[0])
    image = images[contrast]
    prepared = steps.prepare(image, model.spacing_mm, model.multiple, brain_box(scan, image.grid), settings.margin_mm)
    log.info("SynthSeg looks at %s, %s voxels of %g mm", contrast, prepared.data.shape, model.spacing_mm)
    posteriors = steps.posteriors_of(prepared.data, model.network, model.labels, settings.fast)
    posteriors = steps.clean(posteriors, model.labels, settings.fast)
    return steps.label_on(image.grid, posteriors, prepared.affine, model.labels)


def brain_box(scan: MniScan, grid: Grid) -> Grid | None:
    """The part of a grid that holds the brain mask; nothing where the mask is empty."""
    if not scan.brain.any():
        return None
    inside = [np.flatnonzero(scan.brain.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    first = np.eye(4)
    first[:3, 3] = [axis[0] for axis in inside]
    x, y, z = (int(axis[-1] - axis[0] + 1) for axis in inside)
    return Grid((x, y, z), grid.affine @ first)


def weights_path(given: str | None) -> Path:
    """The file of the weights; BadInput where it is missing."""
    path = Path(str(SHIPPED)) if given is None else Path(given)
    if not path.is_file():
        raise BadInput(f"parcellation.synthseg.weights: {path}: no such file; {WHERE_TO_GET}")
    return path


def check_digest(path: Path, expected: str | None) -> None:
    """Log a file's SHA-256; BadInput where another was asked for."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and found != expected:
        raise BadInput(
            f"parcellation.synthseg.weights: {path}: expected SHA-256 {expected}, got {found}; get the file again, or "
            "correct parcellation.synthseg.sha256"
        )
    log.info("weights %s: SHA-256 %s, %s", path, found, OFFICIAL.get(found, "not a published file known here"))


def description(path: Path, channels: int) -> tuple[tuple[int, ...], float]:
    """Labels and voxel size in mm of weights: from the .json beside them, else those of the official networks.

    Raises BadInput where neither tells what the network's output stands for.
    """
    beside, known = path.with_suffix(".json"), told(path)
    if known:
        try:
            labels, spacing_mm = tuple(int(code) for code in known["labels"]), float(known["spacing_mm"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{beside}: expected labels and spacing_mm of {path.name}, got {error!r}") from error
    elif channels in LABEL_LISTS:
        labels, spacing_mm = LABEL_LISTS[channels], OFFICIAL_SPACING_MM
    else:
        raise BadInput(
            f"{path}: expected posteriors of {' or '.join(map(str, LABEL_LISTS))} labels, got {channels}; describe "
            f"other weights in {beside.name}: labels, spacing_mm"
        )
    if len(labels) != channels or labels[0] != 0 or not set(labels) <= set(LABELS):
        raise BadInput(f"{beside}: expected {channels} of the labels {list(LABELS)}, 0 first, got {list(labels)}")
    return labels, spacing_mm


def told(path: Path) -> dict[str, Any]:
    """What the .json beside weights tells of them; nothing where there is none."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        return dict(json.loads(beside.read_text()))
    except (ValueError, TypeError) as error:
        raise BadInput(f"{beside}: expected the description of {path.name}, cannot read it ({error})") from error


def start_tensorflow(threads: int) -> Any:
    """TensorFlow, given its threads, repeatable, and taking of a GPU's memory only what it needs.

    Raises BadInput where it is not installed.
    """
    # Its C++ side logs to stderr before Python can ask it not to.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        import tensorflow
    except ModuleNotFoundError as error:
        raise BadInput(
            "parcellation.backend: synthseg needs TensorFlow, which is not installed here; run `make "
            "environment-synthseg`, use conda environments, or choose another backend"
        ) from error
    threading = tensorflow.config.threading
    if threading.get_intra_op_parallelism_threads() != threads:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
    tensorflow.config.experimental.enable_op_determinism()
    for gpu in tensorflow.config.list_physical_devices("GPU"):
        tensorflow.config.experimental.set_memory_growth(gpu, True)
    return tensorflow


def runner(tensorflow: Any, model: Any) -> steps.Network:
    """The network on one image (X, Y, Z): traced once, whatever the sides of the images that follow."""
    traced = tensorflow.function(
        lambda image: model(image, training=False),
        input_signature=[tensorflow.TensorSpec((1, None, None, None, 1), tensorflow.float32)],
    )

    def run(image: NDArray[np.float32]) -> steps.Posteriors:
        posteriors = traced(tensorflow.constant(image[None, ..., None]))[0].numpy()
        # What follows goes label by label: each as one piece of memory.
        return np.moveaxis(np.array(np.moveaxis(posteriors, -1, 0), order="C"), 0, -1)

    return run


def guarded(network: steps.Network, tensorflow: Any) -> steps.Network:
    """The network, once more on the CPU where the GPU's memory does not suffice."""

    def run(image: NDArray[np.float32]) -> steps.Posteriors:
        try:
            return network(image)
        except tensorflow.errors.ResourceExhaustedError:
            log.warning("the GPU's memory does not suffice for %s voxels; once more on the CPU", image.shape)
            with tensorflow.device("/CPU:0"):
                return network(image)

    return run
