"""Long-MS-Diff at the paper's size in one call: train on the embedded cohort, go on with real scans, sample both, look.

    python benchmarks/gpu_long_ms_diff.py --out FOLDER [--real PATH/open_ms_data] [--steps 4000] [--real-steps 1000]
    python benchmarks/gpu_long_ms_diff.py --out FOLDER --tiny

Runs the project's own workflow in FOLDER, twice: on 24 patients of the embedded cohort, at 256 x 256 with the network
of config.yaml; then, with --real, on a folder of open_ms_data, its generator starting from the weights of the first.
The training of either is cut to the steps asked for. Call it again to go on after an interruption: what is there stays.

Writes into FOLDER, beside results/: {cohort}.png (baseline, mask, real and generated follow-ups of held-out patients)
and summary.md, tables to paste into the docs: minutes of every step, images per second and the share of the device's
matrix peak in training, the most memory that was in use on the device, and what benchmarks/sampling.py says of drawing.

--tiny is the same call at the demo's sizes and with a few steps, for a CPU: it proves that the call runs through.
"""

import argparse
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

sys.path.insert(0, str(Path(__file__).parent))
import sampling

from msdiff.config_files import laid_over
from msdiff.sampling.shards import load_shard
from msdiff.stack.reading import load_stack
from msdiff.synthesis.long_ms_diff.previews import grid

ROOT = Path(__file__).parents[1]
ROWS = 8  # of a picture
# Forward and backward pass of a slice, in forward passes.
PASSES = 3
PHANTOM = {
    "arms": {"placebo": 6, "mild_efficacy": 6, "moderate_efficacy": 6, "high_efficacy": 6},
    "split": {"train": 18, "validation": 2, "test": 4},
}
TINY_PHANTOM = {
    "arms": {"placebo": 2, "mild_efficacy": 0, "moderate_efficacy": 2, "high_efficacy": 0},
    "split": {"train": 3, "validation": 0, "test": 1},
}


def main() -> None:
    """Run both cohorts, and sum up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to work in; the same one again goes on")
    parser.add_argument("--real", type=Path, help="folder of open_ms_data")
    parser.add_argument("--steps", type=int, default=4000, help="of the generator on the embedded cohort")
    parser.add_argument("--real-steps", type=int, default=1000, help="of the generator on the real scans")
    parser.add_argument("--micro-batches", type=int, default=4, help="parts of a batch of 64; fewer need more memory")
    parser.add_argument("--cores", default="all", help="of the processor")
    parser.add_argument("--tiny", action="store_true", help="the demo's sizes and 4 steps")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    runs = {"phantom": phantom(arguments)}
    if arguments.real is not None:
        sheet = out / "open_ms_scans.tsv"
        index = ["index-scans", "--source", "open_ms", "--root", str(arguments.real.resolve()), "--out", str(sheet)]
        subprocess.run([sys.executable, "-m", "msdiff", *index], check=True)
        runs["open_ms"] = open_ms(arguments, sheet, weights(out, "phantom"))
    with Memory() as memory:
        used = {}
        for cohort, overrides in runs.items():
            memory.most_mb = 0
            snakemake(out, cohort, overrides, arguments)
            picture(out, cohort)
            used[cohort] = memory.most_mb
    text = summary(out, list(runs), used, "demo" if arguments.tiny else "paper")
    (out / "summary.md").write_text(text)
    print(text)


def phantom(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is laid over the config for the embedded cohort."""
    patients = TINY_PHANTOM if arguments.tiny else PHANTOM
    cohort = {"split": patients["split"], "phantom": {"arms": patients["arms"]}}
    return {
        "study": "phantom",
        "cohort": {"phantom": cohort},
        "parcellation": {"backend": "atlas", "patients_per_job": 2},
        "synthesis": synthesis(arguments, arguments.steps),
    }


def open_ms(arguments: argparse.Namespace, sheet: Path, pretrained: Path) -> dict[str, Any]:
    """What is laid over the config for real scans: the generator goes on from that of the embedded cohort."""
    overrides: dict[str, Any] = yaml.safe_load((ROOT / "cohorts/open_ms.yaml").read_text())
    overrides["cohort"]["open_ms"]["sheet"] = str(sheet)
    over = {
        "parcellation": {"backend": "atlas", "patients_per_job": 2},
        "synthesis": synthesis(arguments, arguments.real_steps),
    }
    over["synthesis"]["long_ms_diff"]["pretrained"] = str(pretrained)
    merged: dict[str, Any] = laid_over(overrides, over)
    return merged


def synthesis(arguments: argparse.Namespace, steps: int) -> dict[str, Any]:
    """The section of the config: trainings of fewer steps, one shard."""
    steps, auxiliary = (4, 4) if arguments.tiny else (steps, 2000)
    section: dict[str, Any] = {
        "shards": {"mass": 1, "held_out": 1},
        # Few patients are left to validate on.
        "auxiliary": {"detector": {"training": schedule(auxiliary) | {"keep": "last", "validate_every": 0}}},
        "long_ms_diff": {
            "training": schedule(steps) | {"ema_decay": 0.999},
            "preview": {"every": max(1, steps // 4)},
        },
        "plan": {"mass": {"count": 8 if arguments.tiny else 256}},
    }
    if arguments.tiny:
        section["plan"]["held_out"] = {"slices_per_pair": 2}
        section["sampler"] = {"steps": 2}
    else:
        section["long_ms_diff"]["training"]["micro_batches"] = arguments.micro_batches
    return section


def schedule(steps: int) -> dict[str, int]:
    """The length of a training, and what follows from it."""
    every = max(1, min(500, steps // 4))
    return {
        "steps": steps,
        "warm_up_steps": max(1, min(500, steps // 8)),
        "log_every": max(1, min(50, steps // 4)),
        "checkpoint_every": every,
    }


def snakemake(out: Path, cohort: str, overrides: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Draw the cohort's follow-ups, with all that this needs; only what is missing is made."""
    laid_over = out / f"{cohort}.yaml"
    laid_over.write_text(yaml.safe_dump(overrides, sort_keys=False))
    profile = "profiles/demo" if arguments.tiny or not torch.cuda.is_available() else "profiles/local"
    size = "demo" if arguments.tiny else "paper"
    targets = [f"results/synthesis/{cohort}/long_ms_diff/{purpose}/shards/000" for purpose in ("held_out", "mass")]
    command = ["snakemake", "--profile", profile, "--cores", arguments.cores, "--retries", "2"]
    command += ["--directory", str(out), "--config", f"size={size}", "--configfile", str(laid_over), "--", *targets]
    subprocess.run(command, cwd=ROOT, check=True)


class Memory:
    """The most memory in use on the accelerator, in MB, asked for every second; 0 where there is none."""

    def __init__(self) -> None:
        self.most_mb = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Memory":
        if torch.cuda.is_available():
            self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()

    def _watch(self) -> None:
        command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while not self.ended.wait(1):
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            self.most_mb = max(self.most_mb, *map(int, told.split()))


def weights(out: Path, cohort: str) -> Path:
    """The generator of a cohort."""
    return out / f"results/synthesis/{cohort}/long_ms_diff/weights.safetensors"


def picture(out: Path, cohort: str) -> None:
    """Held-out follow-ups, generated beside real."""
    stack = load_stack(out / f"results/preprocessed/{cohort}/stack")
    shard = load_shard(out / f"results/synthesis/{cohort}/long_ms_diff/held_out/shards/000")
    places = np.unique(np.linspace(0, len(shard.manifest) - 1, ROWS).round().astype(int))
    rows, images = shard.manifest.iloc[places], stack.array("flair")

    def read(scan: str) -> np.ndarray:
        slices = [images[row, number] for row, number in zip(rows[scan], rows["slice"], strict=True)]
        return np.stack(slices).astype(np.float32)

    step = int(pd.read_csv(weights(out, cohort).with_name("history.csv"))["step"].iloc[-1])
    masks, follow_ups = shard.read("change_mask", places), shard.read("follow_up", places)
    drawn = grid(read("baseline_row"), masks, read("follow_up_row"), follow_ups, step)
    drawn.save(out / f"{cohort}.png")


def summary(out: Path, cohorts: list[str], used_mb: dict[str, int], size: str) -> str:
    """Markdown: minutes of every step, speed and memory of the trainings, and the speed of drawing."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    side = sampling.ON[device.type][-1]
    peak = sampling.matmul_peak(device, side)
    flops = PASSES * sampling.flops_of(sampling.generator(size), sampling.PIXELS[size])
    lines = [
        f"{name}; peak of matrix products, {sampling.precision(device)[1]}: {peak / 1e12:.4g} TFLOP/s",
        "",
        "| cohort | steps | images per second | share of the peak | most memory, GB |",
        "|---|---|---|---|---|",
    ]
    for cohort in cohorts:
        history = pd.read_csv(weights(out, cohort).with_name("history.csv"))
        # The first rows hold the start and the compilation.
        speed = history["samples_per_second"].iloc[len(history) // 2 :].median()
        share = 100 * speed * flops / peak
        memory = f"{used_mb[cohort] / 1024:.1f}" if used_mb[cohort] else "-"
        lines.append(f"| {cohort} | {history['step'].iloc[-1]} | {speed:.4g} | {share:.0f} % | {memory} |")
    lines += ["", "| step | " + " | ".join(f"{cohort}, minutes" for cohort in cohorts) + " |"]
    lines.append("|---|" + "---|" * len(cohorts))
    minutes = {cohort: minutes_by_rule(out, cohort) for cohort in cohorts}
    for rule in dict.fromkeys(rule for spent in minutes.values() for rule in spent):
        cells = [f"{minutes[cohort][rule]:.1f}" if rule in minutes[cohort] else "-" for cohort in cohorts]
        lines.append(f"| {rule} | {' | '.join(cells)} |")
    lines += ["", "Minutes are summed over jobs, which run side by side.", ""]
    if size == "demo":
        lines += ["Tiny: the call runs through, and no number here means anything.", ""]
    drawing = [sys.executable, str(ROOT / "benchmarks/sampling.py"), "--size", size, "--device", device.type]
    if size == "demo":
        drawing += ["--steps", "2", "--repeats", "1"]
    told = subprocess.run(drawing, capture_output=True, text=True, check=True).stdout
    return "\n".join(lines) + "\n" + told


def minutes_by_rule(out: Path, cohort: str) -> dict[str, float]:
    """Minutes of a cohort's jobs, by rule, in the order in which they began."""
    spent: dict[str, float] = {}
    files = [path for path in (out / "results/benchmarks").rglob("*.tsv") if f"/{cohort}/" in f"{path.parent}/"]
    files += list((out / "results/benchmarks").glob(f"*/{cohort}.tsv"))
    for path in sorted(files, key=lambda path: path.stat().st_mtime):
        rule = path.relative_to(out / "results/benchmarks").parts[0]
        spent[rule] = spent.get(rule, 0.0) + float(pd.read_csv(path, sep="\t")["s"].sum()) / 60
    return spent


if __name__ == "__main__":
    main()
