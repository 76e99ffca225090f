"""What the benchmarks of networks share: precision, times by turns, FLOPs, the peak of matrix products, comparisons."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

# Side of the matrices whose product shows a device's peak.
SIDES = {"cpu": 2048, "cuda": 8192}
OURS, MONAI, CHANNELS_LAST = NAMES = ("ours", "MONAI", "MONAI channels-last")
SAMPLERS = ("ddim", "ancestral")


class Compared(NamedTuple):
    """Our sampler and MONAI's: samples per second, and medians over turns of MONAI's time over ours."""

    sampler: str
    rates: dict[str, float]
    ratios: dict[str, float]


class Comparison(NamedTuple):
    """Both samplers on one network; `difference` and `spread` are of the DDIM samples, whose mathematics is the same.

    at_once     samples of a batch
    flops       of a sample, all steps and the rows that guidance adds
    compiled    whether our network was
    """

    compared: list[Compared]
    at_once: int
    flops: int
    difference: float
    spread: float
    compiled: bool


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the CPU with the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} thread{'' if torch.get_num_threads() == 1 else 's'}"


def precision(device: torch.device) -> tuple[AbstractContextManager[Any], str]:
    """What networks run in, and its name."""
    if device.type == "cpu":
        return nullcontext(), "float32"
    return torch.autocast("cuda", dtype=torch.bfloat16), "bfloat16"


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Time of one call, to the end of what it ordered on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def by_turns(runs: Mapping[str, Callable[[], object]], device: torch.device, repeats: int) -> dict[str, list[float]]:
    """Seconds of every call, by turns, so that ratios do not depend on what else the machine does."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(seconds(run, device))
    return times


def ratio(theirs: Sequence[float], our: Sequence[float]) -> float:
    """The median over turns of their time over ours; above 1 ours is faster."""
    return statistics.median(a / b for a, b in zip(theirs, our, strict=True))


def compared(
    runs: Mapping[str, Callable[[], Tensor]], at_once: int, device: torch.device, repeats: int
) -> tuple[list[Compared], float, float]:
    """Time the runs "{name}, {sampler}" of NAMES and SAMPLERS; and difference and spread of the DDIM samples."""
    samples = {name: run() for name, run in runs.items()}  # also compiles and warms up
    times = by_turns(runs, device, repeats)
    found = [
        Compared(
            sampler,
            {name: at_once / statistics.median(times[f"{name}, {sampler}"]) for name in NAMES},
            {name: ratio(times[f"{name}, {sampler}"], times[f"{OURS}, {sampler}"]) for name in NAMES[1:]},
        )
        for sampler in SAMPLERS
    ]
    ddim = samples[f"{OURS}, ddim"]
    difference = (ddim - samples[f"{MONAI}, ddim"]).abs().max().item()
    return found, difference, float(np.ptp(ddim.numpy()))


def table(comparison: Comparison, unit: str, peak: float) -> str:
    """A comparison as Markdown, with the share of a device's peak in FLOP/s."""
    lines = [
        f"our network is {'' if comparison.compiled else 'not '}compiled; largest difference of the DDIM samples "
        f"{comparison.difference:.2g}, of a range of {comparison.spread:.2g}",
        "",
        f"| sampler | {unit} per second | {MONAI} | ratio | {CHANNELS_LAST} | ratio | share of the peak |",
        "|---|---|---|---|---|---|---|",
    ]
    for sampler, rates, ratios in comparison.compared:
        cells = [f"{rates[OURS]:.4g}"]
        for name in NAMES[1:]:
            cells += [f"{rates[name]:.4g}", f"{ratios[name]:.2f}"]
        lines.append(f"| {sampler} | {' | '.join(cells)} | {rates[OURS] * comparison.flops / peak:.0%} |")
    return "\n".join(lines)


def matmul_peak(device: torch.device) -> float:
    """The most FLOP/s of ten products of square matrices, in the precision of the networks."""
    kind, side = torch.float32 if device.type == "cpu" else torch.bfloat16, SIDES[device.type]
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    seconds(lambda: a @ b, device)
    return 2 * side**3 / min(seconds(lambda: a @ b, device) for _ in range(10))


def flops_of(step: Callable[[], object]) -> int:
    """FLOPs of a step on the device `meta`, which computes nothing; a multiplication and an addition are two."""
    counter = FlopCounterMode(display=False)
    with counter:
        step()
    return int(counter.get_total_flops())


def chosen(section: Any) -> Any:
    """A section of the config as commands get it: of every part with a backend, that one's options."""
    if not isinstance(section, dict):
        return section
    if "backend" in section:
        backend = section["backend"]
        return {"backend": backend, "options": chosen(section[backend])}
    return {key: chosen(value) for key, value in section.items()}
