"""Hours and disk of jobs that nobody has measured here: arithmetic on estimates.csv.

A line there tells what one unit of a rule's work takes, in seconds or in floating point operations (GFLOP), and which
share of an accelerator's peak they run at; `source` tells how the numbers were had. A job's units follow from its
settings. Units are counted in those of the paper-scale run: an image of 256 x 256 x 60 voxels, a slice of 256 x 256, a
network of the line's `width` (channels of the first level; work and weights grow with its square).
"""

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from msdiff.cluster.dry_run import Job

SECONDS_PER_HOUR = 3600
# Python and its libraries, before any work.
START_SECONDS = 10.0
# Peak of dense bf16 or fp16 products, as the vendor states it; a type that is not listed is taken for an A100.
PEAK_TFLOPS = {"v100": 125, "a30": 165, "a40": 150, "a100": 312, "l40s": 362, "h100": 989, "h200": 989}
# What a core reaches with the networks of the demonstration, measured.
CORE_TFLOPS = 0.05
# What the paper-scale run has, where the dry-run does not tell.
GRID = (256, 256, 60)
IMAGES_PER_PATIENT = 6
PATIENTS = 170
TEST_PATIENTS = 30
SAMPLES = {"mass": 15000, "held_out": 480}


# Rules that train a generator.
GENERATING = ("train_generator", "train_ablation")


class Scale(NamedTuple):
    """What a job's own command does not tell of its work.

    images          of a patient: contrasts of all sessions
    shape           voxels of the common grid (x, y, z)
    samples         of a plan, by purpose
    widths          channels of each generator's first level
    """

    images: float
    shape: tuple[int, ...]
    test_patients: float
    samples: Mapping[str, float]
    widths: Mapping[str, float]


class Estimate(NamedTuple):
    """Hours and MB of one job, and how the numbers were had."""

    hours: float
    mb: float
    source: str


def scale_of(jobs: Iterable[Job]) -> Scale:
    """The size of the study, as far as the planned commands tell it; the paper-scale run's where they do not."""
    jobs = list(jobs)
    told = {job.rule: settings_of(job) for job in jobs}
    # The record of provenance is given the whole config.
    config: Any = next((json.loads(job.options["config"][0]) for job in jobs if "config" in job.options), {})
    grid = told.get("register", {}).get("grid") or _within(config, "preprocess", "grid")
    split = told.get("pair_scans", {}).get("split") or _within(config, "cohort", config.get("study"), "split")
    plan = told.get("plan_samples") or _within(config, "synthesis", "plan")
    patients = {job.options["patient"]: job.options["contrasts"] for job in jobs if "patient" in job.options}
    images = [_images(rows[0], contrasts) for rows, contrasts in patients.items()]
    test_patients = split.get("test", TEST_PATIENTS)
    if isinstance(test_patients, float):
        test_patients *= len(patients) or PATIENTS
    mass, held_out = plan.get("mass", {}).get("count"), plan.get("held_out", {}).get("slices_per_pair")
    synthesis = _within(config, "synthesis")
    generators = {name: _within(synthesis, name) for name in synthesis.get("generators", [])}
    generators |= {job.wildcards["generator"]: settings_of(job) for job in jobs if job.rule in GENERATING}
    return Scale(
        images=sum(images) / len(images) if images else IMAGES_PER_PATIENT,
        shape=tuple(grid.get("shape", GRID)),
        test_patients=test_patients,
        samples={
            "mass": mass or SAMPLES["mass"],
            "held_out": held_out * test_patients if held_out else SAMPLES["held_out"],
        },
        widths={name: width for name, settings in generators.items() if (width := _width(settings))},
    )


def estimate(job: Job, scale: Scale) -> Estimate:
    """What the table says of a job; where it says nothing, the job's time limit."""
    settings = settings_of(job)
    kind = settings | settings.get("registration", {})
    # The generator ablation/complete/seed-0 goes by the line of `ablation`.
    named = [part for value in job.wildcards.values() for part in value.split("/")]
    variants = {kind.get("backend"), kind.get("architecture"), kind.get("generator"), *named, ""}
    line = next((line for line in table() if line["rule"] == job.rule and line["variant"] in variants), None)
    if line is None:
        return Estimate(limit_hours(job), 0.0, "no estimate: its time limit")
    width = _width(settings) or scale.widths.get(job.wildcards.get("generator", ""))
    relative = (width / float(line["width"])) ** 2 if width and line["width"] else 1.0
    speed = 1000 * job.threads * CORE_TFLOPS
    if job.gpus:
        speed = 1000 * job.gpus * peak_tflops(job.gpu_model) * float(line["share_of_peak"])
    seconds = float(line["seconds"] or 0) + relative * float(line["gflop"] or 0) / speed
    return Estimate(
        hours=(START_SECONDS + UNITS[line["per"]](job, scale) * seconds) / SECONDS_PER_HOUR,
        mb=UNITS[line["disk_per"]](job, scale) * relative * float(line["mb"]),
        source=line["source"],
    )


@cache
def table() -> list[dict[str, str]]:
    """The lines of estimates.csv."""
    text = files("msdiff.cluster").joinpath("estimates.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def limit_hours(job: Job) -> float:
    """The job's time limit; infinite where it has none."""
    runtime = job.resources.get("runtime", "")
    return int(runtime) / 60 if runtime.isdigit() else math.inf


def peak_tflops(gpu_model: str | None) -> float:
    """Peak of an accelerator's type, by the first name in the list that it holds: a100 of a100-sxm4-40gb."""
    return next((peak for name, peak in PEAK_TFLOPS.items() if name in (gpu_model or "").lower()), PEAK_TFLOPS["a100"])


def settings_of(job: Job) -> dict[str, Any]:
    """The part of the config that the job's command is given."""
    return _read(job.options["settings"][0]) if "settings" in job.options else {}


def _of_patient(job: Job, scale: Scale) -> float:
    """Images of a job's patient, relative to the voxels of the paper-scale grid."""
    rows = job.options.get("patient")
    return _voxels(scale) * (_images(rows[0], job.options["contrasts"]) if rows else scale.images)


def _trained_slices(job: Job, scale: Scale) -> float:
    training = settings_of(job)["training"]
    return float(training["steps"] * training["batch_size"]) * _pixels(scale)


def _drawn_slices(job: Job, scale: Scale) -> float:
    sampler = settings_of(job)
    passes = sampler["steps"] * (2 if sampler["guidance_weight"] > 0 else 1)
    return _samples(job, scale) * float(passes) * _pixels(scale)


def _samples(job: Job, scale: Scale) -> float:
    """Samples of a shard, or of a plan; those held out where the job has no purpose."""
    shards = int(job.options["shards"][0]) if "shard" in job.options else 1
    return scale.samples[job.wildcards.get("purpose", "held_out")] / shards


def _voxels(scale: Scale) -> float:
    return math.prod(scale.shape) / math.prod(GRID)


def _pixels(scale: Scale) -> float:
    return math.prod(scale.shape[:2]) / math.prod(GRID[:2])


UNITS: Mapping[str, Callable[[Job, Scale], float]] = {
    "job": lambda job, scale: 1.0,
    "image": _of_patient,
    "patient": lambda job, scale: _voxels(scale) * len(job.options.get("normalised", "1")),
    "cohort image": lambda job, scale: (
        _voxels(scale) * scale.images * sum("/normalised/" in path for path in job.inputs)
    ),
    "test slice": lambda job, scale: _pixels(scale) * scale.shape[2] * scale.test_patients,
    "trained slice": _trained_slices,
    "drawn slice": _drawn_slices,
    "sample": _samples,
    "sample slice": lambda job, scale: _pixels(scale) * _samples(job, scale),
}


def _images(rows: str, contrasts: Iterable[str]) -> int:
    """Images in a patient's rows of the scan sheet."""
    scans = _read(rows)
    return sum(contrast in scan for scan in scans for contrast in contrasts)


def _width(settings: Mapping[str, Any]) -> float | None:
    """Channels of the first level of a network."""
    network = settings.get("network", {})
    # A detector's `channels` are those of its tokens.
    sizes = network.get("widths") or network.get("channels")
    return float(sizes[0]) if sizes else None


def _within(config: Any, *keys: Any) -> dict[str, Any]:
    for key in keys:
        config = config.get(key, {})
    return dict(config)


@cache
def _read(text: str) -> Any:
    return json.loads(text)
