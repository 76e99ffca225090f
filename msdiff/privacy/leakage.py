"""Does a held-out patient stand behind a synthetic sample? Checked on what a run wrote, not on what it was told to do.

    training    the patients in the records of generator and auxiliary detector are training patients; so are those in
                the auxiliary's list, by name and by row, and its list is the one it was trained on
    statistics  with which the generator reads scalars: those of the training scans
    samples     baseline and mask of every row of plan and shards come from training patients, by name and by row; the
                scalars of a whole scan are the donor's; the weights are the generator's
    content     no slice of a training scan is equal, voxel for voxel, to one of a held-out scan: a patient under two
                names

Sets are those of the fold that the stack was opened with, which has every patient in one (`load_stack` refuses others).
A check raises LeakedPatient, or BadInput where a record is missing or contradicts another, with one line that names
file and patient.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from msdiff.errors import BadInput
from msdiff.lists import read_list
from msdiff.networks.weights import read_description, sha256
from msdiff.sampling.shards import load_shard
from msdiff.settings import digest
from msdiff.stack.reading import Stack

log = logging.getLogger(__name__)

TRAIN = "train"
SAMPLE_COLUMNS = [
    *("sample", "baseline_subject", "baseline_row", "mask_subject", "mask_row"),
    *("change_mm3", "change_count", "scalars"),
]
# Relative; statistics are written as decimal numbers.
TOLERANCE = 1e-6
# A slice with less brain may be equal by chance.
SMALLEST_BRAIN_VOXELS = 16


class LeakedPatient(BadInput):
    """A patient that was to be held out fed a generator."""


class Evidence(NamedTuple):
    """Files of a run: the plan and shards of purpose mass, and what trained on what."""

    plan: Path
    shards: Sequence[Path]
    generator: Path
    auxiliary: Path
    auxiliary_slices: Path


def check_leakage(stack: Stack, evidence: Evidence) -> dict[str, Any]:
    """What was checked, as numbers; `leaked_patients` is 0, for any leak raises.

    Raises LeakedPatient and BadInput; see the head of this module.
    """
    split = stack.scans.drop_duplicates("subject").set_index("subject")["split"]
    check_auxiliary(stack, split, evidence.auxiliary, evidence.auxiliary_slices)
    description = check_generator(stack, split, evidence.generator)
    check_samples(stack, split, read_list(evidence.plan, SAMPLE_COLUMNS), evidence.plan)
    weights = sha256(evidence.generator)
    n_samples = 0
    for folder in evidence.shards:
        manifest = load_shard(folder).manifest
        path = Path(folder) / "manifest.tsv"
        check_samples(stack, split, manifest, path)
        others = manifest[manifest["weights_sha256"] != weights]
        if len(others):
            raise BadInput(
                f"{path}: expected samples made with {evidence.generator}, sample {others['sample'].iloc[0]} was "
                "made with other weights; sample the shard again"
            )
        n_samples += len(manifest)
    contrast = description["settings"]["contrast"]
    check_content(stack, split, contrast)
    patients = {name: sorted(split.index[split == name]) for name in sorted(split.unique())}
    log.info("no held-out patient in %d samples and two trainings; patients by set: %s", n_samples, _counts(patients))
    return {
        "leaked_patients": 0,
        "n_samples": n_samples,
        "patients": {name: len(subjects) for name, subjects in patients.items()},
        "trained_on": len(description["patients"]),
        # Whom weights from elsewhere were trained on is not known here.
        "pretrained_sha256": description.get("pretrained_sha256"),
        "weights_sha256": weights,
        "contrast": contrast,
    }


def check_auxiliary(stack: Stack, split: "pd.Series[str]", weights: Path, slices: Path) -> None:
    """The auxiliary detector was trained on this list, and the list holds training patients only."""
    description, listed = read_description(weights), read_list(slices, ["subject", "baseline_row", "follow_up_row"])
    check_patients(split, description.get("patients", []), weights)
    check_patients(split, listed["subject"], slices)
    for column in ("baseline_row", "follow_up_row"):
        check_patients(split, _owners(stack, listed[column], slices), slices)
    if digest(listed.to_csv(index=False)) != description.get("slices"):
        raise BadInput(f"{slices}: expected the list that {weights} was trained on, got another; train it again")


def check_generator(stack: Stack, split: "pd.Series[str]", weights: Path) -> dict[str, Any]:
    """The generator was trained on training patients, and reads scalars by their statistics; its description."""
    description = read_description(weights)
    if description.get("kind") != "generator" or "patients" not in description:
        raise BadInput(
            f"{weights}: expected a generator's weights with the list of patients that it was trained on, got "
            f"{description.get('kind', 'something else')!r} without; train it with train-generator"
        )
    check_patients(split, description["patients"], weights)
    if description.get("pretrained_sha256"):
        log.warning("%s started from weights of unknown training patients: only what followed is checked", weights)
    elif "statistics" in description:
        _check_statistics(stack, description, weights)
    return description


def check_samples(stack: Stack, split: "pd.Series[str]", rows: pd.DataFrame, path: Path) -> None:
    """Baseline, mask and scalars of every sample of a plan or manifest come from training patients."""
    for what in ("baseline", "mask"):
        owners = _owners(stack, rows[f"{what}_row"], path)
        for subjects in (rows[f"{what}_subject"], owners):
            check_patients(split, subjects, path, f"gave the {what} of sample", rows["sample"])
        renamed = rows[(rows[f"{what}_subject"] != owners).to_numpy()]
        if len(renamed):
            row = renamed.iloc[0]
            raise BadInput(
                f"{path}: sample {row['sample']}: expected the {what} of {row[f'{what}_subject']}, got a scan of "
                f"{owners[renamed.index[0]]}; plan and sample again"
            )
    if (rows["scalars"] == "scan").all():
        _check_scalars(stack, rows, path)


def check_content(stack: Stack, split: "pd.Series[str]", contrast: str) -> None:
    """No slice of a training scan is equal to one of a held-out scan."""
    images, brains = stack.array(contrast), stack.array("brain_mask")
    held_out: dict[bytes, str] = {}
    # Held-out scans first.
    for row, subject in sorted(
        zip(stack.scans["row"], stack.scans["subject"], strict=True), key=lambda scan: split[scan[1]] == TRAIN
    ):
        enough = np.count_nonzero(brains[row], axis=(1, 2)) >= SMALLEST_BRAIN_VOXELS
        for level in np.flatnonzero(enough):
            content = hashlib.sha256(images[row, level].tobytes()).digest()
            if split[subject] != TRAIN:
                held_out[content] = subject
            elif content in held_out:
                other = held_out[content]
                raise LeakedPatient(
                    f"{stack.folder / contrast}.npy: slice {level} of {subject} ({TRAIN}) is equal to one of {other} "
                    f"({split[other]}): one patient under two names; give both one name or one set, and train again"
                )


def check_patients(
    split: "pd.Series[str]",
    subjects: Iterable[str],
    path: Path,
    what: str = "was trained on",
    samples: Sequence[int] | None = None,
) -> None:
    """Raise LeakedPatient where one of the patients is held out or unknown."""
    table = pd.Series(list(subjects), dtype=str)
    sets = table.map(split)
    wrong = np.flatnonzero((sets != TRAIN).to_numpy())
    if not len(wrong):
        return
    first = int(wrong[0])
    described = sets.iloc[first] if isinstance(sets.iloc[first], str) else "no set"
    where = "" if samples is None else f" {pd.Series(samples).iloc[first]}"
    raise LeakedPatient(
        f"{path}: patient {table.iloc[first]} of {described} {what}{where}; expected training patients only, "
        "make it again with the cohort's present sets"
    )


def _owners(stack: Stack, rows: pd.Series, path: Path) -> "pd.Series[str]":
    """The patients whose scans lie at these rows of the stack."""
    owners = rows.map(stack.scans.set_index("row")["subject"])
    if owners.isna().any():
        strange = rows[owners.isna()].iloc[0]
        raise BadInput(f"{path}: expected rows of {stack.folder}, got {strange}; it belongs to another stack")
    return owners


def _check_statistics(stack: Stack, description: dict[str, Any], weights: Path) -> None:
    """Mean and range of log(1 + value) over the training scans, or slices, counted anew."""
    unit = description["settings"]["scalars"]
    rows = stack.slices[stack.slices["split"] == TRAIN]
    rows = rows.drop_duplicates("pair") if unit == "scan" else rows
    for name, stored in description["statistics"].items():
        logs = np.log1p(rows[f"{unit}_{name}"].to_numpy(np.float64))
        for key, value in {"mean": logs.mean(), "smallest": logs.min(), "largest": logs.max()}.items():
            if not np.isclose(stored[key], value, rtol=TOLERANCE, atol=TOLERANCE):
                raise BadInput(
                    f"{weights}: expected the statistics of the training {unit}s, {name} with a {key} of {value:.6g}, "
                    f"got {stored[key]:.6g}: other patients went in; train the generator again"
                )


def _check_scalars(stack: Stack, rows: pd.DataFrame, path: Path) -> None:
    """The load and the number of a whole scan's lesions are those of the scan that gave the mask."""
    scans = stack.slices.drop_duplicates("follow_up_row").set_index("follow_up_row")
    for name in ("change_mm3", "change_count"):
        wanted = rows["mask_row"].map(scans[f"scan_{name}"]).to_numpy(np.float64)
        wrong = np.flatnonzero(~np.isclose(rows[name].to_numpy(np.float64), wanted, rtol=TOLERANCE))
        if len(wrong):
            row = rows.iloc[int(wrong[0])]
            raise BadInput(
                f"{path}: sample {row['sample']}: expected {name} {wanted[wrong[0]]:g} of its donor "
                f"{row['mask_subject']}, got {row[name]:g}; plan and sample again"
            )


def _counts(patients: dict[str, list[str]]) -> str:
    return ", ".join(f"{name} {len(subjects)}" for name, subjects in patients.items())
