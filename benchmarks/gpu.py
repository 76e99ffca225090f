"""Everything that needs an accelerator, in one call that may be cut short: tests, memory, speed, short trainings.

    python benchmarks/gpu.py --minutes 8 --out gpu.json [--items NAME ...] [--again [NAME ...]]
    python benchmarks/gpu.py --tiny --out FILE

Runs its items one after the other, the most important first, each in a process of its own, so that an item that crashes
or runs out of memory leaves the others alone. After each item FILE is written whole. An item that would not fit into
the minutes that are left is left out, and one that outlasts them is stopped. Call it again to go on: what FILE holds is
not measured again, unless --again says so. The folder beside FILE, with its name, keeps the logs, the pictures and the
runs of the workflow, which go on where they were.

    tests               tests/gpu: an accelerator samples and trains as a CPU does, compiled or not
    memory:SYSTEM       computed and measured peak of training and sampling at each preset of profiles/memory that fits
                        the device, and the share of the device's matrix peak of one step
    sampling:SYSTEM     our sampler against MONAI's loop, and its share of the matrix peak (sampling.py, forecasting.py)
    training:SYSTEM     the workflow from simulated scans to a short training: its speed as the loop has it, its share
                        of the matrix peak, the error at its start and its end, the most memory in use, a picture
    networks            slices as channels against a 3-D UNet (slabs.py)
    processes           a step shared by two accelerators (processes.py)

A system is one entry of SYSTEMS. Prints one Markdown table, to be pasted into docs/accelerator.md.

--tiny does the same with the demo's networks and a few steps, for a CPU: it proves that the call runs through, and none
of its numbers means anything.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

sys.path.insert(0, str(Path(__file__).parent))

from msdiff.config_files import Config, merged_config
from msdiff.writing import whole_file

ROOT = Path(__file__).parents[1]
GIB = 2**30
COHORT = "trials"  # simulated on the common grid, so that no registration comes first
SAVING_SECONDS = 5  # that an item must end before the minutes are over
Row = dict[str, str]


class Run(NamedTuple):
    """What an item gets: `size` of the config, the folder beside the file, the length of its trainings."""

    size: str
    folder: Path
    steps: int
    patients: int

    @property
    def tiny(self) -> bool:
        """Whether nothing is measured."""
        return self.size == "demo"


class Item(NamedTuple):
    """Something to measure: about how long it takes, and what it does."""

    minutes: float
    run: Callable[[Run], list[Row]]


class Step(NamedTuple):
    """A step whose memory is asked for: samples at once, their FLOPs, and what memory.py runs."""

    at_once: int
    flops: int
    prepare: Callable[..., Any]


class System(NamedTuple):
    """What there is to measure of a system.

    name            as the table has it
    memory          the steps of a config, by name
    compare         size, device, steps, batch and turns to the comparison with MONAI's loop
    batch, steps    of the comparison at the paper's size
    overlay         the config's changes for a short training
    trainings       folder of each history in the run's folder, and FLOPs of a sample by size
    targets         what the workflow is asked for
    picture         writes a picture of a run's folder
    """

    name: str
    memory: Callable[[Config], dict[str, Step]]
    compare: Callable[..., Any]
    batch: int
    steps: int
    overlay: Callable[[Run], Config]
    trainings: dict[str, tuple[str, Callable[[str], int]]]
    targets: tuple[str, ...]
    picture: Callable[[Path, Path], None]


# Long-MS-Diff.
GENERATOR = f"results/synthesis/{COHORT}/long_ms_diff"
PASSES = 3  # of a training step, forwards and backwards, in forward passes


def generator_steps(config: Config) -> dict[str, Step]:
    """Training and sampling of follow-up slices."""
    import memory
    import sampling

    side = config["preprocess"]["grid"]["shape"][0]
    training = config["synthesis"]["long_ms_diff"]["training"]
    flops = sampling.flops_of_slice(sampling.generator(config["size"]), side)

    def step(kind: Any, at_once: int, passes: int) -> Step:
        return Step(at_once, passes * flops, partial(memory.prepared, kind, config, at_once, side))

    return {
        "training": step(memory.train_step, training["batch_size"] // training["micro_batches"], PASSES),
        "sampling": step(memory.sampling_step, config["synthesis"]["sample_batch"], 1),
    }


def generator_flops(size: str) -> int:
    """FLOPs of a slice in training."""
    import sampling

    return PASSES * sampling.flops_of_slice(sampling.generator(size), sampling.PIXELS[size])


def generator_overlay(run: Run) -> Config:
    """A short training of the generator, with a picture at its end, and a shorter one of its auxiliary detector."""
    auxiliary = schedule(run.steps // 4) | {"keep": "last", "validate_every": 0}
    return {
        "synthesis": {
            "auxiliary": {"detector": {"training": auxiliary}},
            "long_ms_diff": {"training": training(run), "preview": {"every": run.steps}},
        }
    }


def generator_picture(run: Path, out: Path) -> None:
    """The last preview: baseline, change mask, real and generated follow-up, difference."""
    *_, last = sorted((run / GENERATOR / "previews").glob("*.png"))
    shutil.copy(last, out)


def compare_generators(*arguments: Any) -> Any:
    """See sampling.py."""
    import sampling

    return sampling.compare(*arguments)


# The forecasts of NET2 lesions.
FORECASTS = f"results/forecasting/{COHORT}"
PATIENTS_SHOWN = 4


def forecast_steps(config: Config) -> dict[str, Step]:
    """Both stages of training, and the evaluation of both networks in sampling."""
    import slabs

    of, forecasting = slabs.Sizes(config["size"]), config["forecasting"]
    steps = {}
    for name, (build, given) in of.stages.items():
        chosen = forecasting[name]["training"]
        at_once = chosen["batch_size"] // chosen["micro_batches"]
        # AdamW's two moments and the average of the weights are kept beside them.
        prepare = partial(slabs.prepared, build, slabs.train_step, partial(given, at_once), True, 3)
        steps[f"training, {name}"] = Step(at_once, slabs.flops(build, slabs.train_step, partial(given, 1)), prepare)
    # With guidance a sample is two rows.
    at_once = forecasting["sample_batch"] * (2 if forecasting["sampler"]["guidance_weight"] else 1)
    prepare = partial(slabs.prepared, of.controlled, slabs.evaluate, partial(of.with_embedded, at_once), True, 0)
    flops = slabs.flops(of.controlled, slabs.evaluate, partial(of.with_embedded, 1))
    return steps | {"sampling": Step(at_once, flops, prepare)}


def stage_flops(stage: str, size: str) -> int:
    """FLOPs of a slab in the training of a stage."""
    import slabs

    return slabs.training_flops(size)[stage]


def forecast_overlay(run: Run) -> Config:
    """Short trainings of both stages, and forecasts of a few patients."""
    heat_maps = {"draws": 2 if run.tiny else 20, "patients": PATIENTS_SHOWN, "shards": 1}
    return {
        "forecasting": {
            "prior": {"training": training(run)},
            "control": {"training": training(run), "balanced": "weights"},
            "draws": {"heat_maps": heat_maps},
            "sampler": {"steps": 2 if run.tiny else 20},
        }
    }


def forecast_picture(run: Path, out: Path) -> None:
    """Held-out patients in the slice with most true lesions: last FLAIR, truth, voxel probability, two draws."""
    import numpy as np
    from PIL import Image

    from msdiff.forecasting.slabs import load_slabs
    from msdiff.sampling.shards import load_shard

    cut = load_slabs(run / FORECASTS / "slabs")
    purpose = run / FORECASTS / "forecasts/heat_maps"
    shard = load_shard(purpose / "shards/000")
    probability = np.load(purpose / "scores/probability.npy", mmap_mode="r")
    (flair,) = cut.places(f"flair@{cut.sessions[1]}")
    place = {subject: number for number, subject in enumerate(cut.patients["subject"])}
    rows = []
    for row, subject in enumerate(shard.manifest["subject"]):
        at = place[subject]
        truth = cut.array("net2")[at] > 0
        z = int(truth.sum(axis=(1, 2)).argmax()) if truth.any() else len(truth) // 2
        masks = [truth, probability[row], *shard.read("masks", row)[:2]]
        image = cut.array("channels")[at, flair, z].astype(np.float32)
        rows.append(np.hstack([(image + 1) / 2, *(np.asarray(mask[z], dtype=np.float32) for mask in masks)]))
    # The front at the top.
    pixels = np.vstack([row[::-1] for row in rows]).clip(0, 1) * 255
    Image.fromarray(pixels.round().astype(np.uint8)).save(out)


def compare_forecasters(*arguments: Any) -> Any:
    """See forecasting.py."""
    import forecasting

    return forecasting.compare(*arguments)


SYSTEMS = {
    "long_ms_diff": System(
        "Long-MS-Diff",
        generator_steps,
        compare_generators,
        batch=32,
        steps=10,
        overlay=generator_overlay,
        trainings={"generator": (GENERATOR, generator_flops)},
        targets=(f"{GENERATOR}/weights.safetensors",),
        picture=generator_picture,
    ),
    "net2": System(
        "NET2 forecasts",
        forecast_steps,
        compare_forecasters,
        batch=16,
        steps=10,
        overlay=forecast_overlay,
        trainings={
            "prior": (f"{FORECASTS}/prior", partial(stage_flops, "prior")),
            "ControlNet": (f"{FORECASTS}/two_sessions", partial(stage_flops, "control")),
        },
        targets=(f"{FORECASTS}/forecasts/heat_maps/scores",),
        picture=forecast_picture,
    ),
}


def all_items() -> dict[str, Item]:
    """The items by name, the most important first; the minutes are estimates for a data-centre accelerator."""
    found = {"tests": Item(2.0, run_tests)}
    found |= {f"memory:{key}": Item(0.7, partial(measure_memory, system)) for key, system in SYSTEMS.items()}
    found |= {f"sampling:{key}": Item(1.0, partial(compare_sampling, system)) for key, system in SYSTEMS.items()}
    found |= {f"training:{key}": Item(2.5, partial(train_briefly, key)) for key in SYSTEMS}
    return found | {"networks": Item(0.7, compare_networks), "processes": Item(0.5, compare_processes)}


def run_tests(run: Run) -> list[Row]:
    """tests/gpu; the memory of the presets has an item of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not preset", "tests/gpu"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    print(told)
    *_, summary = told.strip().splitlines() or ["pytest said nothing"]
    failed = [line.partition("::")[2].partition(" - ")[0] for line in told.splitlines() if line.startswith("FAILED")]
    return [row("all", "tests/gpu", result=" ".join([summary.strip("= "), *failed]))]


def measure_memory(system: System, run: Run) -> list[Row]:
    """Computed and measured peaks of the presets that fit the device, and the share of its peak of one step."""
    import measuring
    import memory
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    peak = None if device.type == "cpu" else measuring.matmul_peak(device)
    held = torch.cuda.get_device_properties(0).total_memory if peak else float("inf")
    rows = []
    for preset in presets()[: 1 if run.tiny else None]:
        if held < 0.95e9 * gigabytes(preset):
            rows.append(row(system.name, f"memory, preset {preset.stem}", result="left out: a smaller device"))
            continue
        config = merged_config(yaml.safe_load(preset.read_text()), size=run.size)
        for name, step in system.memory(config).items():
            result = f"{memory.computed(step.prepare) / GIB:.3g} GiB computed"
            if peak:
                found = memory.measured(step.prepare)
                share = step.at_once * step.flops / found.seconds / peak
                result += f", {found.peak / GIB:.3g} measured; a step not compiled has {share:.0%} of the peak"
            what = f"memory, preset {preset.stem}, {name}"
            rows.append(row(system.name, what, "bfloat16", step.at_once, result))
            print(rows[-1], flush=True)
    return rows


def presets() -> list[Path]:
    """The presets of memory, the smallest first."""
    return sorted((ROOT / "profiles/memory").glob("*.yaml"), key=gigabytes)


def gigabytes(preset: Path) -> int:
    """The memory of the devices that a preset is for."""
    return int(preset.stem.removesuffix("gb"))


def compare_sampling(system: System, run: Run) -> list[Row]:
    """Our sampler against MONAI's loop."""
    import measuring
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch, steps, repeats = (2, 2, 1) if run.tiny else (system.batch, system.steps, 3)
    found = system.compare(run.size, device, steps, batch, repeats)
    peak = measuring.matmul_peak(device)
    print(measuring.table(found, "samples", peak))
    rows = []
    for sampler, rates, ratios in found.compared:
        rate = rates[measuring.OURS]
        result = f"{rate:.3g} samples/s, {rate * found.flops / peak:.0%} of the peak; "
        result += ", ".join(f"{ratio:.2f} times as fast as {name}" for name, ratio in ratios.items())
        what = f"sampling, {sampler}, {steps} steps, {'' if found.compiled else 'not '}compiled"
        rows.append(row(system.name, what, measuring.precision(device)[1], batch, result))
    result = f"{found.difference:.2g} of a range of {found.spread:.2g}"
    return [*rows, row(system.name, "sampling, ddim: largest difference to MONAI's samples", result=result)]


def train_briefly(key: str, run: Run) -> list[Row]:
    """The workflow from simulated scans to a short training and a picture of it."""
    import measuring
    import pandas as pd
    import torch

    system, folder = SYSTEMS[key], run.folder / "run"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "config.yaml", folder)
    overlay = folder / f"{key}.yaml"
    overlay.write_text(yaml.safe_dump(patients(run) | system.overlay(run), sort_keys=False))
    profile = "profiles/local" if torch.cuda.is_available() else "profiles/demo"
    command = ["snakemake", "--profile", profile, "--cores", "all", "--directory", str(folder)]
    command += ["--config", f"size={run.size}", "--configfile", str(overlay), "--", *system.targets]
    with DeviceMemory() as used:
        if subprocess.run(command, cwd=ROOT).returncode:
            raise RuntimeError("the workflow failed; its log says why")
    picture = run.folder / f"{key}.png"
    system.picture(folder, picture)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    peak = measuring.matmul_peak(device)
    rows = []
    for name, (place, flops) in system.trainings.items():
        history = pd.read_csv(folder / place / "history.csv")
        # The first rows hold the start and the compilation.
        speed = history["samples_per_second"].iloc[len(history) // 2 :].median()
        first, last = (history["squared_error"].iloc[at] for at in (0, -1))
        result = f"{speed:.3g} samples/s, {speed * flops(run.size) / peak:.0%} of the peak; "
        result += f"squared error {first:.2g} to {last:.2g}; {picture.name}"
        what = f"training, {name}, {history['step'].iloc[-1]} steps"
        rows.append(row(system.name, what, measuring.precision(device)[1], training(run)["batch_size"], result))
    if used.most_mb:
        result = f"{used.most_mb / 1024:.1f} GiB, all processes"
        rows.append(row(system.name, "training: most memory in use on the device", result=result))
    return rows


def patients(run: Run) -> Config:
    """The config's changes for a few simulated patients of each arm that the forecasts know."""
    arms = merged_config(size=run.size)["forecasting"]["arms"]
    simulated = dict.fromkeys(merged_config(size=run.size)["cohort"][COHORT]["phantom"]["arms"], 0)
    cohort = {
        "phantom": {"arms": simulated | dict.fromkeys(arms, run.patients)},
        "parcellation": "template",
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
    }
    return {"study": "phantom", "cohort": {COHORT: cohort}, "preprocess": {"patients_per_job": 12 if run.tiny else 2}}


def training(run: Run) -> Config:
    """Section `training` of a short training."""
    return schedule(run.steps) | {"batch_size": 4 if run.tiny else 16, "micro_batches": 1, "ema_decay": 0.99}


def schedule(steps: int) -> Config:
    """The length of a training, and what follows from it."""
    every = {key: max(1, steps // parts) for key, parts in (("warm_up_steps", 10), ("log_every", 10))}
    return {"steps": max(1, steps), "checkpoint_every": max(1, steps // 2)} | every


class DeviceMemory:
    """The most memory in use on the accelerator, in MiB, asked for every second; 0 where there is none."""

    def __init__(self) -> None:
        self.most_mb = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "DeviceMemory":
        if shutil.which("nvidia-smi"):
            self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()

    def _watch(self) -> None:
        while not self.ended.wait(1):
            self.most_mb = max(self.most_mb, *map(int, ask_driver("memory.used").split() or ["0"]))


def ask_driver(field: str) -> str:
    """What nvidia-smi says of the accelerators; empty where there is none."""
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def compare_networks(run: Run) -> list[Row]:
    """Slices as channels against a 3-D UNet of as many parameters."""
    import torch

    kind = "cuda" if torch.cuda.is_available() else "cpu"
    options = ["--part", "networks", "--size", run.size, "--device", kind, "--batch", "2", "--repeats"]
    told = told_by("slabs.py", *options, "1" if run.tiny else "3")
    heads, *_, ratios = (line.strip("| ").split(" | ") for line in told.splitlines() if line.startswith("|"))
    result = ", ".join(f"{head} {ratio}" for head, ratio in zip(heads[-4:], ratios[-4:], strict=True))
    precision = "bfloat16" if kind == "cuda" else "float32"
    return [row("NET2 forecasts", "a 3-D UNet over slices as channels, ratios", precision, 2, result)]


def compare_processes(run: Run) -> list[Row]:
    """A step shared by two accelerators, or two processes of a CPU."""
    import torch

    if torch.cuda.is_available() and torch.cuda.device_count() < 2:
        return [row("all", "a step shared by two accelerators", result="not run: there is one accelerator")]
    told = told_by("processes.py", *(["--repeats", "1", "--threads", "1"] if run.tiny else []))
    ratio = next(line.split()[1] for line in told.splitlines() if line.startswith("ratio"))
    what = "a step shared by two processes, time over that of DistributedDataParallel"
    return [row("all", what, "float32", 8, ratio)]


def told_by(script: str, *options: str) -> str:
    """What another benchmark prints."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), *options]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    print(told)
    return told


def row(system: str, what: str = "", precision: str = "", at_once: object = "", result: str = "") -> Row:
    """A row of the table."""
    return {"system": system, "what": what, "precision": precision, "at once": str(at_once), "result": result}


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="file (JSON) to write and to go on with")
    parser.add_argument("--minutes", type=float, help="when to stop at the latest; without it, when all is done")
    parser.add_argument("--items", nargs="+", choices=all_items(), help="only these")
    parser.add_argument("--again", nargs="*", choices=all_items(), help="measure these anew; without names, all")
    parser.add_argument("--steps", type=int, default=300, help="of each short training")
    parser.add_argument("--patients", type=int, default=4, help="simulated for the trainings, of each arm")
    parser.add_argument("--tiny", action="store_true", help="the demo's sizes and a few steps, on a CPU too")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    steps = 4 if arguments.tiny else arguments.steps
    run = Run("demo" if arguments.tiny else "paper", out.with_suffix(""), steps, arguments.patients)
    if run.folder == out:
        parser.error(f"--out: expected a name with an ending such as gpu.json, got {out.name}")
    if arguments.child:
        (name,) = arguments.items
        arguments.child.write_text(json.dumps({"rows": all_items()[name].run(run), **device()}))
        return
    if not run.tiny and not ask_driver("name"):
        parser.error("no accelerator was found (nvidia-smi names none); --tiny runs through on a CPU")
    kept: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    run.folder.mkdir(parents=True, exist_ok=True)
    wanted = {name: item for name, item in all_items().items() if name in (arguments.items or all_items())}
    again = wanted if arguments.again == [] else arguments.again or []
    kept = {name: result for name, result in kept.items() if name not in again}
    end = time.monotonic() + 60 * arguments.minutes if arguments.minutes else float("inf")
    for name, item in wanted.items():
        left = end - time.monotonic() - SAVING_SECONDS
        if kept.get(name, {}).get("done"):
            continue
        if left < (0 if run.tiny else 60 * item.minutes):
            kept[name] = {"error": f"not run: takes about {item.minutes:g} min, {max(0, left) / 60:.1f} were left"}
        else:
            print(f"{name} ...", file=sys.stderr, flush=True)
            result = alone(name, run, left, sys.argv[1:])
            others = {other["device"] for other in kept.values() if "device" in other} - {result.get("device")}
            if "device" in result and others:
                parser.error(f"{out} is of {others.pop()}; name another file for {result['device']}")
            kept[name] = result
        with whole_file(out) as temporary:
            temporary.write_text(json.dumps(kept, indent=1) + "\n")
    print(table(kept))


def alone(name: str, run: Run, left: float, options: list[str]) -> dict[str, Any]:
    """Run an item in a process of its own; what it found, or why it found nothing."""
    stem = run.folder / name.replace(":", "_")
    answer, log = stem.with_suffix(".answer"), stem.with_suffix(".log")
    answer.unlink(missing_ok=True)
    # The last of two options of one name wins.
    command = [sys.executable, __file__, *options, "--items", name, "--child", str(answer)]
    began = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
        try:
            process.wait(None if left == float("inf") else left)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return {"error": f"stopped after {left / 60:.1f} min, when the minutes were over", "log": str(log)}
    spent = {"seconds": round(time.monotonic() - began, 1), "done": True}
    if process.returncode or not answer.exists():
        *_, last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] or ["no word"]
        return spent | {"error": f"failed (exit code {process.returncode}): {last.strip()[:300]}", "log": str(log)}
    return spent | json.loads(answer.read_text())


def device() -> dict[str, Any]:
    """The device, its memory, its driver and torch in a line, and its peak of matrix products in FLOP/s."""
    import measuring
    import torch

    kind = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    told = measuring.device_name(kind)
    if kind.type == "cuda":
        driver = (ask_driver("driver_version").split() or ["unknown"])[0]
        told += f", {torch.cuda.get_device_properties(0).total_memory / GIB:.0f} GiB, driver {driver}"
    return {"device": f"{told}, torch {torch.__version__}", "peak": measuring.matmul_peak(kind)}


def table(kept: dict[str, Any]) -> str:
    """What was measured as Markdown, with what was not and why."""
    rows, peaks, told = [], [], "nothing measured"
    for name in (name for name in all_items() if name in kept):
        result, (kind, _, key) = kept[name], name.partition(":")
        rows += result.get("rows") or [row(SYSTEMS[key].name if key else "all", kind, result=result["error"])]
        if "device" in result:
            told, peaks = result["device"], [*peaks, result["peak"]]
    peak = f"; peak of matrix products {max(peaks) / 1e12:.3g} TFLOP/s" if peaks else ""
    heads = ("system", "what", "precision", "at once", "result")
    lines = [told + peak, "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += [f"| {' | '.join(each[head].replace('|', '/') for head in heads)} |" for each in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
