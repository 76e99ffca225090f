"""Hours and disk of jobs that nobody has measured here: arithmetic on estimates.csv.

A line there tells what one unit of a rule's work takes, in seconds or in floating point operations (GFLOP), and which
share of an accelerator's peak they run at; `source` tells how the numbers were had. A job's units follow from its
settings. Units are counted in those of the paper-scale run: an image of 256 x 256 x 60 voxels, a slice of 256 x 256, a
network of the line's `width` (channels of the first level; work and weights grow with its square).
"""

import csv
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from msdiff.cluster.dry_run import PlannedJob

SECONDS_PER_HOUR = 3600
# Python and its libraries, before any work.
START_SECONDS = 10.0
# Peak of dense bf16 or fp16 products, as the vendor states it; a type that is not listed is taken for an A100.
PEAK_TFLOPS = {"v100": 125, "a30": 165, "a40": 150, "a100": 312, "l40s": 362, "h100": 989, "h200": 989}
# What a core reaches with the networks of the demonstration, measured.
CORE_TFLOPS = 0.05
# What the paper-scale run has, where the dry-run does not tell.
GRID = (256, 256, 60)
MASS_SAMPLES = 15000
SLICES_PER_PAIR = 16
ARMS = 6
# Rules that train a generator, and those with the networks of the forecasts.
# What a rule writes whose estimate is that of all tables.
TABLES = "results/tables/"
GENERATING = ("train_generator", "train_ablation")
IMAGING = ("register", "simulate_aligned")
FORECASTING = ("train_prior", "train_control", "sample_forecasts")


class CohortSize(NamedTuple):
    """Who is in a cohort.

    images          of a patient: contrasts of all sessions
    sets            patients of train, validation and test
    shape           voxels of the grid (x, y, z)
    """

    patients: float
    images: float
    sets: Mapping[str, float]
    shape: tuple[int, ...]


PAPER = CohortSize(patients=170, images=6, sets={"train": 110, "validation": 30, "test": 30}, shape=GRID)


class Scale(NamedTuple):
    """What a job's own command does not tell of its work.

    cohorts         by name; of a job that names none, the study's
    mass            samples for the detectors
    slices_per_pair sampled of held-out pairs
    arms            treatments of the forecasts
    draws           settings of the forecasts' draws, by purpose
    widths          channels of the first level: of each generator, and of the networks of the forecasts
    """

    cohorts: Mapping[str, CohortSize]
    mass: float
    slices_per_pair: float
    arms: int
    draws: Mapping[str, Mapping[str, Any]]
    widths: Mapping[str, float]

    def cohort(self, job: PlannedJob) -> CohortSize:
        """The job's cohort."""
        return self.cohorts[job.wildcards.get("cohort", "")]


class Estimate(NamedTuple):
    """Hours and MB of one job, and how the numbers were had."""

    hours: float
    mb: float
    source: str


def scale_of(jobs: Iterable[PlannedJob]) -> Scale:
    """The size of the study, as far as the planned commands tell it; the paper-scale run's where they do not."""
    jobs = list(jobs)
    told = {job.rule: settings_of(job) for job in jobs}
    # The record of provenance is given the whole config.
    config: Any = next((json.loads(job.options["config"][0]) for job in jobs if "config" in job.options), {})
    plan = told.get("plan_samples") or _within(config, "synthesis", "plan")
    synthesis, forecasting = _within(config, "synthesis"), _within(config, "forecasting")
    generators = {name: _within(synthesis, name) for name in synthesis.get("generators", [])}
    generators |= {job.wildcards["generator"]: settings_of(job) for job in jobs if job.rule in GENERATING}
    generators["forecasts"] = told.get("train_prior") or forecasting
    names = {"", *(job.wildcards["cohort"] for job in jobs if "cohort" in job.wildcards)}
    return Scale(
        cohorts={name: _cohort(name, jobs, config) for name in names},
        mass=plan.get("mass", {}).get("count", MASS_SAMPLES),
        slices_per_pair=plan.get("held_out", {}).get("slices_per_pair", SLICES_PER_PAIR),
        arms=len((told.get("cut_slabs") or forecasting).get("arms", ())) or ARMS,
        draws=forecasting.get("draws", {})
        | {job.wildcards["purpose"]: settings_of(job)["draws"] for job in jobs if job.rule == "sample_forecasts"},
        widths={name: width for name, settings in generators.items() if (width := _width(settings))},
    )


def _cohort(name: str, jobs: Sequence[PlannedJob], config: Any) -> CohortSize:
    """A cohort as its jobs and the config tell of it; the study's where the name is empty."""
    own = [job for job in jobs if job.wildcards.get("cohort", "") == name]
    section = _within(config, "cohort", name or config.get("study"))
    folds = [settings_of(job) for job in own if job.rule == "assign_fold"]
    # Its own, or where nothing tells of it, that of another cohort.
    own_grids, grids = ([settings_of(job).get("grid") for job in some if job.rule in IMAGING] for some in (own, jobs))
    known = [*own_grids, section.get("grid"), _within(config, "preprocess", "grid"), *grids]
    split = next((fold["options"] for fold in folds if fold["backend"] == "split"), section.get("split"))
    rows = {job.options["patients"]: job.options["contrasts"] for job in own if "patients" in job.options}
    images = [count for batch, contrasts in rows.items() for count in _images(batch[0], contrasts)]
    # Batches of patients who are simulated on the common grid.
    for job in own:
        if job.rule == "simulate_aligned":
            sessions = settings_of(job)["phantom"]["sessions"]
            images += [len(sessions) * len(job.options["contrasts"])] * len(job.options["subjects"])
    patients = sum(_within(section, "phantom", "arms").values()) or len(images) or PAPER.patients
    sets = {kind: split.get(kind, 0) for kind in PAPER.sets} if split else PAPER.sets
    return CohortSize(
        patients=patients,
        images=sum(images) / len(images) if images else PAPER.images,
        sets={kind: count * patients if isinstance(count, float) else count for kind, count in sets.items()},
        shape=next((tuple(grid["shape"]) for grid in known if grid), GRID),
    )


def estimate(job: PlannedJob, scale: Scale) -> Estimate:
    """What the table says of a job; where it says nothing, the job's time limit."""
    settings = settings_of(job)
    kind = settings | settings.get("registration", {})
    # The generator ablation/complete/seed-0 goes by the line of `ablation`.
    named = [part for value in job.wildcards.values() for part in value.split("/")]
    variants = {kind.get("backend"), kind.get("architecture"), kind.get("generator"), *named, ""}
    rule = "table" if any(path.startswith(TABLES) for path in job.outputs) else job.rule
    line = next((line for line in table() if line["rule"] == rule and line["variant"] in variants), None)
    if line is None:
        return Estimate(limit_hours(job), 0.0, "no estimate: its time limit")
    network = "forecasts" if job.rule in FORECASTING else job.wildcards.get("generator", "")
    width = _width(settings) or scale.widths.get(network)
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


def limit_hours(job: PlannedJob) -> float:
    """The job's time limit; infinite where it has none."""
    runtime = job.resources.get("runtime", "")
    return int(runtime) / 60 if runtime.isdigit() else math.inf


def peak_tflops(gpu_model: str | None) -> float:
    """Peak of an accelerator's type, by the first name in the list that it holds: a100 of a100-sxm4-40gb."""
    return next((peak for name, peak in PEAK_TFLOPS.items() if name in (gpu_model or "").lower()), PEAK_TFLOPS["a100"])


def settings_of(job: PlannedJob) -> dict[str, Any]:
    """The part of the config that the job's command is given."""
    return _read(job.options["settings"][0]) if "settings" in job.options else {}


def _of_patients(job: PlannedJob, scale: Scale) -> float:
    """Images of a job's patients, relative to the voxels of the paper-scale grid."""
    if "patients" in job.options:
        return _voxels(job, scale) * sum(_images(job.options["patients"][0], job.options["contrasts"]))
    # Steps after registration are given the folders of the patients alone.
    given = (job.options[name] for name in ("subjects", "registered", "corrected") if name in job.options)
    return _voxels(job, scale) * scale.cohort(job).images * len(next(given, "1"))


def _of_cohort(job: PlannedJob, scale: Scale) -> float:
    """Images of all patients of a job's cohort, likewise."""
    cohort = scale.cohort(job)
    return _voxels(job, scale) * cohort.images * cohort.patients


def _stacked_volumes(job: PlannedJob, scale: Scale) -> float:
    """Volumes of a stack of half precision; five masks of a session, of a byte a voxel, are two and a half of them."""
    return _of_cohort(job, scale) * (1 + 2.5 / len(job.options["contrasts"]))


def _trained_slices(job: PlannedJob, scale: Scale) -> float:
    """Slices, or slabs whose slices are channels, that a training sees."""
    settings = settings_of(job)
    parts = [settings, *(part for part in settings.values() if isinstance(part, dict))]
    training = next(part["training"] for part in parts if "training" in part)
    return float(training["steps"] * training["batch_size"]) * _pixels(job, scale)


def _sampled_slices(job: PlannedJob, scale: Scale) -> float:
    return _samples(job, scale) * _passes(settings_of(job)) * _pixels(job, scale)


def _forecasts(job: PlannedJob, scale: Scale) -> float:
    """Draws of a shard, or of all shards of a purpose."""
    draws = scale.draws[job.wildcards["purpose"]]
    patients = scale.cohort(job).sets[draws["split"]]
    rows = min(patients, draws["patients"] or patients) * (scale.arms if draws["arms"] == "all" else 1)
    shards = int(job.options["shards"][0]) if "shard" in job.options else 1
    return float(rows * draws["draws"]) / shards * _pixels(job, scale)


def _denoised_forecasts(job: PlannedJob, scale: Scale) -> float:
    return _forecasts(job, scale) * _passes(settings_of(job)["sampler"])


def _passes(sampler: Mapping[str, Any]) -> float:
    """How often the network is asked for a sample."""
    return float(sampler["steps"] * (2 if sampler["guidance_weight"] > 0 else 1))


def _samples(job: PlannedJob, scale: Scale) -> float:
    """Samples of a shard, or of a plan; those held out where the job has no purpose."""
    shards = int(job.options["shards"][0]) if "shard" in job.options else 1
    if job.wildcards.get("purpose") == "mass":
        return scale.mass / shards
    return scale.slices_per_pair * scale.cohort(job).sets["test"] / shards


def _voxels(job: PlannedJob, scale: Scale) -> float:
    return math.prod(scale.cohort(job).shape) / math.prod(GRID)


def _pixels(job: PlannedJob, scale: Scale) -> float:
    return math.prod(scale.cohort(job).shape[:2]) / math.prod(GRID[:2])


UNITS: Mapping[str, Callable[[PlannedJob, Scale], float]] = {
    "job": lambda job, scale: 1.0,
    "image": _of_patients,
    "patient": lambda job, scale: _voxels(job, scale) * len(job.options.get("normalised", "1")),
    "cohort image": _of_cohort,
    "stacked volume": _stacked_volumes,
    "cohort slab": lambda job, scale: _pixels(job, scale) * scale.cohort(job).patients,
    "test slice": lambda job, scale: _pixels(job, scale) * scale.cohort(job).shape[2] * scale.cohort(job).sets["test"],
    "trained slice": _trained_slices,
    "sampled slice": _sampled_slices,
    "denoised forecast": _denoised_forecasts,
    "forecast": _forecasts,
    "sample": _samples,
    "sample slice": lambda job, scale: _pixels(job, scale) * _samples(job, scale),
}


def _images(rows: str, contrasts: Iterable[str]) -> list[int]:
    """Images of each patient, from the rows of the scan sheet."""
    counts: Counter[str] = Counter()
    for scan in _read(rows):
        counts[scan["subject"]] += sum(contrast in scan for contrast in contrasts)
    return list(counts.values())


def _width(settings: Mapping[str, Any]) -> float | None:
    """Channels of the first level of a network, which may be one of several presets."""
    network = settings.get("network", {})
    if "backend" in network:
        network = network.get("options") or network.get(network["backend"], {})
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
