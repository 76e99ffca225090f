"""Forecasts at the paper's size in one call: prior, ControlNets, draws, tables, pictures, and what they cost.

    python benchmarks/gpu_forecasting.py --out FOLDER [--patients 20] [--steps 3000] [--control-steps 1500]
    python benchmarks/gpu_forecasting.py --out FOLDER --tiny

Runs the project's own workflow in FOLDER on some patients of each of the six arms of the embedded trials, with slabs of
15 x 256 x 256 and the networks of config.yaml (591 M parameters). The trainings are cut to the steps asked for. Call it
again to go on after an interruption: what is there stays.

Writes into FOLDER, beside results/: forecasts.png (held-out patients: FLAIR, the lesions that came, the probability of
each voxel, two draws) and summary.md, tables to paste into the docs: slabs per second and the share of the device's
matrix peak in each training, minutes of every step, the most memory that was in use on the device, the forecasts' own
tables, and what benchmarks/forecasting.py and benchmarks/slabs.py say of drawing and of 3-D networks.

--tiny is the same call at the demo's sizes and with a few steps, for a CPU: it proves that the call runs through.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
import sampling
import slabs
from forecasting import SIDE, network_of, section
from gpu_long_ms_diff import Memory, minutes_by_rule, schedule

from msdiff.forecasting.slabs import load_slabs
from msdiff.sampling.shards import load_shard

ROOT = Path(__file__).parents[1]
COHORT = "trials"
FORECASTS = f"results/forecasting/{COHORT}"
TABLES = ["regional_accuracy", "activity_prediction", "lesion_count", "counterfactuals", "calibration"]
STAGES = {"prior": "prior", "two_sessions": "control", "pre_treatment": "control"}
ROWS = 6  # of the picture


def main() -> None:
    """Run, and sum up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to work in; the same one again goes on")
    parser.add_argument("--patients", type=int, default=20, help="of each arm; 10 CPU seconds each")
    parser.add_argument("--steps", type=int, default=3000, help="of the prior")
    parser.add_argument("--control-steps", type=int, default=1500, help="of each ControlNet")
    parser.add_argument("--micro-batches", type=int, default=2, help="parts of a batch of 16; fewer need more memory")
    parser.add_argument("--draw-batch", type=int, default=16, help="draws at once; more need more memory")
    parser.add_argument("--cores", default="all", help="of the processor")
    parser.add_argument("--tiny", action="store_true", help="the demo's sizes and 4 steps")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with Memory() as memory:
        snakemake(out, arguments)
    picture(out)
    text = summary(out, memory.most_mb, "demo" if arguments.tiny else "paper")
    (out / "summary.md").write_text(text)
    print(text)


def overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is laid over the config: fewer patients, steps and draws."""
    base = section("demo" if arguments.tiny else "paper")
    patients = 8 if arguments.tiny else arguments.patients
    draws = {"validation": 8, "test": 20, "heat_maps": 50, "counterfactuals": 8}
    if arguments.tiny:
        draws = dict.fromkeys(draws, 2)
    laid_over: dict[str, Any] = {
        "prior": {"training": trained(arguments, arguments.steps)},
        "control": {"training": trained(arguments, arguments.control_steps)},
        "draws": {purpose: {"draws": number, "shards": 1} for purpose, number in draws.items()},
        "sample_batch": arguments.sample_batch,
    }
    if arguments.tiny:
        laid_over["sampler"] = {"steps": 2}
    cohort: dict[str, Any] = {"phantom": {"arms": dict.fromkeys(base["arms"], patients)}, "parcellation": "template"}
    # Few patients are left to test on.
    cohort["split"] = {"train": 0.5, "validation": 0.25, "test": 0.25}
    return {"study": "phantom", "cohort": {COHORT: cohort}, "forecasting": laid_over}


def trained(arguments: argparse.Namespace, steps: int) -> dict[str, Any]:
    """Section `training` of so many steps."""
    training: dict[str, Any] = schedule(4 if arguments.tiny else steps)
    return training | ({} if arguments.tiny else {"micro_batches": arguments.micro_batches, "ema_decay": 0.999})


def snakemake(out: Path, arguments: argparse.Namespace) -> None:
    """Make the forecasts' tables, with all that they need; only what is missing is made."""
    laid_over = out / "forecasts.yaml"
    laid_over.write_text(yaml.safe_dump(overrides(arguments), sort_keys=False))
    profile = "profiles/demo" if arguments.tiny or not torch.cuda.is_available() else "profiles/local"
    size = "demo" if arguments.tiny else "paper"
    targets = [f"results/tables/{table}.csv" for table in TABLES]
    targets += [f"{FORECASTS}/forecasts/heat_maps/scores"]
    command = ["snakemake", "--profile", profile, "--cores", arguments.cores, "--retries", "2"]
    command += ["--directory", str(out), "--config", f"size={size}", "--configfile", str(laid_over), "--", *targets]
    subprocess.run(command, cwd=ROOT, check=True)


def picture(out: Path) -> None:
    """Held-out patients in the slice with most true lesions: last FLAIR, truth, voxel probability, two draws."""
    cut = load_slabs(out / FORECASTS / "slabs")
    purpose = out / FORECASTS / "forecasts/heat_maps"
    shard = load_shard(purpose / "shards/000")
    probability = np.load(purpose / "scores/probability.npy", mmap_mode="r")
    (flair,) = cut.places(f"flair@{cut.sessions[1]}")
    place = {subject: number for number, subject in enumerate(cut.patients["subject"])}
    rows = []
    for row, subject in enumerate(shard.manifest["subject"][:ROWS]):
        at = place[subject]
        truth = cut.array("net2")[at] > 0
        z = int(truth.sum(axis=(1, 2)).argmax()) if truth.any() else len(truth) // 2
        drawn = shard.read("masks", row)
        masks = [truth, probability[row], *drawn[:2]]
        image = cut.array("channels")[at, flair, z].astype(np.float32)
        rows.append(np.hstack([(image + 1) / 2, *(np.asarray(mask[z], dtype=np.float32) for mask in masks)]))
    # The front at the top.
    pixels = np.vstack([row[::-1] for row in rows]).clip(0, 1) * 255
    Image.fromarray(pixels.round().astype(np.uint8)).save(out / "forecasts.png")


def summary(out: Path, used_mb: int, size: str) -> str:
    """Markdown: speed of the trainings, minutes of every step, the tables, and both benchmarks."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    peak = sampling.matmul_peak(device, sampling.ON[device.type][-1])
    _, sizes = network_of(section(size))
    flops = slabs.training_flops(size)
    memory = f"{used_mb / 1024:.1f} GB" if used_mb else "not measured"
    lines = [
        f"{name}; slabs of {sizes.slices} x {SIDE[size]} x {SIDE[size]}; peak of matrix products, "
        f"{sampling.precision(device)[1]}: {peak / 1e12:.4g} TFLOP/s; most memory in use: {memory}",
        "",
        "| training | steps | slabs per second | share of the peak | squared error, first | last |",
        "|---|---|---|---|---|---|",
    ]
    for stage, kind in STAGES.items():
        history = pd.read_csv(out / FORECASTS / stage / "history.csv")
        # The first rows hold the start and the compilation.
        speed = history["samples_per_second"].iloc[len(history) // 2 :].median()
        errors = [f"{history['squared_error'].iloc[row]:.3g}" for row in (0, -1)]
        share = 100 * speed * flops[kind] / peak
        lines.append(f"| {stage} | {history['step'].iloc[-1]} | {speed:.4g} | {share:.0f} % | {' | '.join(errors)} |")
    lines += ["", "| step | minutes, summed over jobs |", "|---|---|"]
    lines += [f"| {rule} | {minutes:.1f} |" for rule, minutes in minutes_by_rule(out, COHORT).items()]
    if size == "demo":
        lines += ["", "Tiny: the call runs through, and no number here means anything."]
    for table in TABLES:
        frame = pd.read_csv(out / f"results/tables/{table}.csv", dtype=str, keep_default_na=False)
        lines += ["", f"## {table}", "", "| " + " | ".join(frame.columns) + " |", "|---" * len(frame.columns) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in frame[frame["source"] == "msdiff"].to_numpy()]
    options = ["--size", size, "--device", device.type]
    quick = ["--repeats", "1"] if size == "demo" else []
    for benchmark in (["forecasting.py", *(["--steps", "2"] if quick else [])], ["slabs.py"]):
        command = [sys.executable, str(ROOT / "benchmarks" / benchmark[0]), *benchmark[1:], *options, *quick]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        lines += ["", f"## benchmarks/{benchmark[0]}", "", told]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
