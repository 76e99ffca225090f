"""Slabs: what forecasts learn from. Of every patient the middle slices of three sessions, ready for a network.

A folder of slabs:

    channels.npy       float16 (patient, channel, z, y, x), in [-1, 1]
    net2.npy           uint8   (patient, z, y, x): new or enlarging lesions of the third session, as drawn
    net2_before.npy    the same of the second session
    brain_mask.npy     uint8   (patient, z, y, x), and so regions.npy (FreeSurfer's codes)
    patients.tsv       one row per patient: row, subject, arm, count_before and count (lesions of net2_before and
                       net2), cerebral_white_matter and cerebral_cortex (1: a lesion of net2 lies in the region)
    slab.json          shape (x, y, z) and affine of the slab's grid in RAS+ mm, sessions, channels, arms

A channel is named `{image}@{session}`: the images of every session in order, then the NET2 masks of the second and the
third.

Images are clipped to some standard deviations about the mean of the first session's brain and scaled so that the first
session's brain fills [-1, 1]; later sessions by the same line, so that change survives; -1 outside the brain. Masks are
blurred by a Gaussian of a few voxels and scaled from [0, 1] to [-1, 1]. Favero et al., arXiv 2508.07006 (2025), section
3, give the central 15 slices of 256 x 256 voxels; docs/forecasting.md tells where blur and scaling are from.

Every patient must have all sessions, images and masks: who lacks one is left out and named in the log.
"""

import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from scipy import ndimage
from tqdm import tqdm

from msdiff.errors import BadInput, BadSettings
from msdiff.images import BACKGROUND, Grid
from msdiff.metrics.regional import REGIONS, ReadoutSettings, read_out
from msdiff.settings import Settings
from msdiff.stack.reading import Stack, digest_of, mapped, read_fold, with_split
from msdiff.stack.writing import open_array
from msdiff.writing import whole_folder

NET2 = "net2"
MASK_CHANNELS = ("lesion_mask", "enhancing_mask")
INDEX = ("patients.tsv", "slab.json")

Session = Annotated[str, Field(pattern="^[A-Za-z0-9]+$")]
Image = Annotated[str, Field(pattern="^[a-z0-9_]+$")]

log = logging.getLogger(__name__)


class BlurSettings(Settings):
    """A Gaussian over the voxels of a mask: its standard deviation (0: none), and the width of its kernel, odd."""

    sigma_voxels: NonNegativeFloat
    width_voxels: PositiveInt

    @model_validator(mode="after")
    def _has_a_middle(self) -> "BlurSettings":
        if self.width_voxels % 2 == 0:
            raise ValueError(f"width_voxels: expected an odd number, got {self.width_voxels}")
        return self


class SlabSettings(Settings):
    """Section `forecasting.slabs`: what of a patient's scans the networks see.

    sessions            three, without `ses-`: before treatment, the last one known, and the one that is forecast
    images              arrays of the stack at each session: contrasts and masks
    slices              axial, of the common grid
    centre_mm           height of the slab's middle in MNI space (z), or None for the middle of the grid
    clip_deviations     intensities are held to the brain's mean plus and minus so many standard deviations
    """

    sessions: tuple[Session, Session, Session]
    images: Annotated[tuple[Image, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True})]
    slices: PositiveInt
    centre_mm: float | None
    label_blur: BlurSettings
    clip_deviations: PositiveFloat

    @model_validator(mode="after")
    def _agrees(self) -> "SlabSettings":
        for name in ("sessions", "images"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name}: expected each once, got {', '.join(values)}")
        if list(self.sessions) != sorted(self.sessions):
            raise ValueError(f"sessions: expected names that sort by time, got {', '.join(self.sessions)}")
        return self


class CutSettings(Settings):
    """What the command `cut-slabs` takes: the slab, the arms by efficacy, and what counts as a lesion."""

    slabs: SlabSettings
    arms: Annotated[tuple[str, ...], Field(min_length=1)]
    readout: ReadoutSettings


class Slabs(NamedTuple):
    """An opened folder of slabs; arrays are mapped when asked for.

    `patients` has a column `split` if a fold is given.
    """

    folder: Path
    grid: Grid
    sessions: list[str]
    channels: list[str]
    arms: list[str]
    patients: pd.DataFrame

    def array(self, name: str) -> NDArray[np.generic]:
        """The read-only array of a name (see the head of this module); BadInput where there is none."""
        return mapped(self.folder, name)

    def places(self, *channels: str) -> list[int]:
        """Where channels stand in `channels.npy`; BadInput where one is missing."""
        for channel in channels:
            if channel not in self.channels:
                raise BadInput(f"{self.folder}: no channel {channel!r}; these slabs hold {', '.join(self.channels)}")
        return [self.channels.index(channel) for channel in channels]

    def sha256(self, *names: str) -> str:
        """Hexadecimal SHA-256 of named arrays, of the patients and of the slab: of all that a training reads."""
        return digest_of(self.folder, names, INDEX)


class Slab(NamedTuple):
    """One patient: channels (channel, z, y, x) in [-1, 1], masks bool and regions (z, y, x)."""

    channels: NDArray[np.float32]
    net2: NDArray[np.bool_]
    net2_before: NDArray[np.bool_]
    brain: NDArray[np.bool_]
    regions: NDArray[np.uint8]


def load_slabs(folder: str | Path, fold: str | Path | None = None) -> Slabs:
    """Open a folder of slabs, with a fold; BadInput where one of them cannot be read."""
    folder = Path(folder)
    try:
        slab = json.loads((folder / "slab.json").read_text())
        patients = pd.read_csv(
            folder / "patients.tsv", sep="\t", keep_default_na=False, dtype={"subject": str, "arm": str}
        )
        x, y, z = slab["shape"]
        grid = Grid((x, y, z), np.asarray(slab["affine"], dtype=np.float64))
        slabs = Slabs(folder, grid, slab["sessions"], slab["channels"], slab["arms"], patients)
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"{folder}: expected a folder of slabs, cannot read it ({error}); make it by cut-slabs"
        ) from error
    return slabs if fold is None else slabs._replace(patients=with_split(patients, read_fold(fold), fold))


def write_slabs(stack: Stack, settings: CutSettings, out: str | Path) -> None:
    """Write the folder that `load_slabs` opens, patient by patient, so that memory does not grow with the cohort.

    Raises BadInput where no patient has all that is asked for, or an arm is unknown; BadSettings as `slab_slices`.
    """
    slabs = settings.slabs
    planes = slab_slices(stack.grid, slabs)
    grid = slab_grid(stack.grid, planes)
    names = channel_names(slabs)
    chosen = choose_patients(stack.scans, slabs, settings.arms)
    volume = (len(chosen), *grid.shape[::-1])
    rows = []
    with whole_folder(out) as folder, ExitStack() as files:
        channels = open_array(folder / "channels.npy", np.float16, (len(chosen), len(names), *volume[1:]), files)
        others = {
            name: open_array(folder / f"{name}.npy", np.uint8, volume, files)
            for name in ("net2", "net2_before", "brain_mask", "regions")
        }
        for row, patient in enumerate(tqdm(chosen, desc="patients", unit="patient", disable=None)):
            slab = cut(stack, patient, slabs, planes)
            channels.write(slab.channels.astype(np.float16).tobytes())
            for name, data in zip(others, (slab.net2, slab.net2_before, slab.brain, slab.regions), strict=True):
                others[name].write(data.astype(np.uint8).tobytes())
            future, past = (
                read_out(mask, slab.regions, settings.readout, grid.voxel_volume_mm3)
                for mask in (slab.net2, slab.net2_before)
            )
            rows.append(
                {
                    "row": row,
                    "subject": patient.subject,
                    "arm": patient.arm,
                    "count_before": past.lesions,
                    "count": future.lesions,
                    **{name: int(future.in_region[name]) for name in REGIONS},
                }
            )
        pd.DataFrame(rows).to_csv(folder / "patients.tsv", sep="\t", index=False)
        description = {
            "shape": grid.shape,
            "affine": grid.affine.tolist(),
            "sessions": slabs.sessions,
            "channels": names,
            "arms": settings.arms,
        }
        (folder / "slab.json").write_text(json.dumps(description) + "\n")
    active = sum(row["count"] > 0 for row in rows)
    log.info("wrote %s: %d patients, %d with lesions at %s", out, len(rows), active, slabs.sessions[-1])


class Patient(NamedTuple):
    """A patient of the stack: the rows of the three sessions, and those whose change masks make each NET2 mask."""

    subject: str
    arm: str
    rows: tuple[int, ...]
    before: tuple[int, ...]
    future: tuple[int, ...]


def choose_patients(scans: pd.DataFrame, settings: SlabSettings, arms: Sequence[str]) -> list[Patient]:
    """Who has all sessions, images, masks and an arm; the others are named in the log.

    New lesions between two of the sessions are those of all scans after the one and up to the other, for a change mask
    counts from the scan before it. Raises BadInput where nobody is left, or where an arm is not among `arms`.
    """
    chosen = []
    first_lack = ""
    for subject, of_patient in scans.groupby("subject", sort=True):
        ordered = of_patient.sort_values("session")
        lack = _lack(ordered, settings)
        if lack:
            log.info("leave out %s: %s", subject, lack)
            first_lack = first_lack or f"{subject}: {lack}"
            continue
        arm = str(ordered["arm"].iloc[0])
        if arm not in arms:
            raise BadInput(
                f"{subject}: expected an arm of forecasting.arms ({', '.join(arms)}), got {arm!r}; "
                "correct the column arm of the sheet, or add it to forecasting.arms"
            )
        places = [ordered["session"].tolist().index(f"ses-{session}") for session in settings.sessions]
        rows = [int(row) for row in ordered["row"]]
        chosen.append(
            Patient(
                str(subject),
                arm,
                tuple(rows[place] for place in places),
                *(tuple(rows[start + 1 : stop + 1]) for start, stop in pairwise(places)),
            )
        )
    if not chosen:
        raise BadInput(
            f"slabs: expected patients with the sessions {', '.join(settings.sessions)}, the images "
            f"{', '.join(settings.images)}, change masks and an arm, got none ({first_lack}); add what is missing to "
            "the sheet, or change forecasting.slabs"
        )
    return chosen


def _lack(scans: pd.DataFrame, settings: SlabSettings) -> str:
    """What a patient's scans (in order) lack of what is asked for; empty where they lack nothing."""
    wanted = [f"ses-{session}" for session in settings.sessions]
    of_session = {scan.session: scan for scan in scans.itertuples()}
    absent = [session for session in wanted if session not in of_session]
    if absent:
        return f"no session {', '.join(absent)}"
    for image in settings.images:
        for session in wanted:
            scan = of_session[session]
            there = getattr(scan, f"has_{image}", 0) if image in MASK_CHANNELS else image in str(scan.contrasts).split()
            if not there:
                return f"no {image} at {session}"
    for scan in scans.itertuples():
        if wanted[0] < scan.session <= wanted[-1] and not scan.has_change_mask:
            return f"no change mask at {scan.session}"
    return "" if str(scans["arm"].iloc[0]) else "no arm"


def channel_names(settings: SlabSettings) -> list[str]:
    """Names of the channels, in order."""
    images = [f"{image}@{session}" for session in settings.sessions for image in settings.images]
    return images + [f"{NET2}@{session}" for session in settings.sessions[1:]]


def slab_slices(grid: Grid, settings: SlabSettings) -> slice:
    """Which slices of the grid are the slab's: those whose middle is nearest to `centre_mm`; BadSettings where it ends.

    An even rest is shared above and below, an odd one leaves one more above.
    """
    height = grid.shape[2]
    if settings.centre_mm is None:
        first = (height - settings.slices) // 2
    else:
        centre = (settings.centre_mm - grid.affine[2, 3]) / grid.affine[2, 2]
        first = int(np.ceil(centre - settings.slices / 2 - 1e-6))
    if not 0 <= first <= height - settings.slices:
        raise BadSettings(
            f"forecasting.slabs: expected {settings.slices} slices around {settings.centre_mm} mm inside the common "
            f"grid ({height} slices), got {first} to {first + settings.slices - 1}; lower slices, or move centre_mm"
        )
    return slice(first, first + settings.slices)


def slab_grid(grid: Grid, planes: slice) -> Grid:
    """The grid of some slices of a grid."""
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * planes.start
    x, y, _ = grid.shape
    return Grid((x, y, planes.stop - planes.start), affine)


def cut(stack: Stack, patient: Patient, settings: SlabSettings, planes: slice) -> Slab:
    """One patient's slab. Raises BadInput where the slab holds no brain, or the first session one value in it."""
    first = patient.rows[0]
    brain = np.asarray(stack.array("brain_mask")[first, planes], dtype=np.bool_)
    if not brain.any():
        raise BadInput(
            f"{patient.subject}: expected some brain in the slab, got none; move forecasting.slabs.centre_mm"
        )
    change = stack.array("change_mask")
    before, future = (
        np.asarray(np.any([change[row, planes] for row in rows], axis=0)) & brain
        for rows in (patient.before, patient.future)
    )
    volumes = {}
    for image in settings.images:
        array = stack.array(image)
        sessions = [np.asarray(array[row, planes]) for row in patient.rows]
        volumes[image] = (
            [blurred(mask > 0, settings.label_blur) for mask in sessions]
            if image in MASK_CHANNELS
            else scaled(sessions, brain, settings.clip_deviations, f"{patient.subject}: {image}")
        )
    channels = [volumes[image][session] for session in range(len(patient.rows)) for image in settings.images]
    channels += [blurred(mask, settings.label_blur) for mask in (before, future)]
    regions = np.asarray(stack.array("regions")[first, planes], dtype=np.uint8)
    return Slab(np.stack(channels), future, before, brain, regions)


def scaled(
    sessions: Sequence[NDArray[np.generic]], brain: NDArray[np.bool_], deviations: float, name: str
) -> list[NDArray[np.float32]]:
    """Images (z, y, x) of a patient's sessions, in order, in [-1, 1] by the first session's brain; -1 outside it.

    All are clipped to the first's mean plus and minus so many standard deviations; what then are the first's lowest and
    highest values become -1 and 1. Raises BadInput where the first has one value in all of its brain.
    """
    values = [np.asarray(session[brain], dtype=np.float32) for session in sessions]
    mean, deviation = float(values[0].mean()), float(values[0].std())
    low = max(mean - deviations * deviation, float(values[0].min()))
    high = min(mean + deviations * deviation, float(values[0].max()))
    if not high > low:
        raise BadInput(
            f"{name}: expected intensities that differ in the slab's brain, got one value; exclude the patient"
        )
    volumes = []
    for inside in values:
        volume = np.full(brain.shape, BACKGROUND, dtype=np.float32)
        volume[brain] = (np.clip(inside, low, high) - low) / (high - low) * 2 - 1
        volumes.append(volume)
    return volumes


def blurred(mask: NDArray[np.bool_], blur: BlurSettings) -> NDArray[np.float32]:
    """A mask (z, y, x) after a Gaussian over voxels, from [0, 1] to [-1, 1]; nothing lies beyond the slab's faces."""
    values = mask.astype(np.float32)
    if blur.sigma_voxels > 0 and mask.any():
        values = ndimage.gaussian_filter(values, blur.sigma_voxels, mode="constant", radius=blur.width_voxels // 2)
    return np.asarray(values * 2 - 1, dtype=np.float32)
