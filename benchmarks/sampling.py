"""Images per second of our draw over MONAI's: DiffusionInferer with its DDIM and DDPM schedulers, on the same network.

    python benchmarks/sampling.py [--size demo|paper] [--device cpu|cuda] [--steps 20] [--batch N] [--repeats N]

Both draw with the same weights, in equal steps and the same precision (float32 on a CPU, bfloat16 on a GPU), by turns
in one run, so that the ratios do not depend on what else the machine does. Ours is the draw that `sample-images` makes:
from arrays on the CPU to arrays on the CPU, its network channels-last, in batches of four on a CPU, compiled on a GPU.
MONAI's network is as MONAI makes it, run eagerly, from noise on the device to images on the CPU; for a stricter
comparison it is also tried with its weights channels-last.

Prints images per second, the ratio (above 1: ours is faster; the median over turns), the largest difference of the
images where the mathematics is the same (DDIM), the FLOPs of the network as torch counts them, the measured peak of
matrix products on the device and the share of it that is reached, and the time that 15,000 follow-ups would take.
"""

import argparse
import copy
import logging
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import DiffusionInferer
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from msdiff.config_files import merged_config
from msdiff.diffusion.sampler import SamplerSettings, noise_like
from msdiff.networks.conditional_unet import embedding_time
from msdiff.settings import check
from msdiff.synthesis.long_ms_diff.conditions import channels, standardised
from msdiff.synthesis.long_ms_diff.denoiser import Denoiser
from msdiff.synthesis.long_ms_diff.follow_ups import Draw
from msdiff.synthesis.long_ms_diff.options import LongMSDiffSettings

ROOT = Path(__file__).parents[1]
CHAIN = 1000  # steps of the discrete chain that both take a part of
PIXELS = {"demo": 64, "paper": 256}
# Batch of a draw, turns, and side of the matrices of the peak.
ON = {"cpu": (8, 7, 2048), "cuda": (32, 5, 8192)}
FOLLOW_UPS, STEPS = 15_000, 20
STATISTICS = {
    name: {"mean": 0.0, "deviation": 1.0, "smallest": 0.0, "largest": 10.0} for name in ("change_mm3", "change_count")
}


def main() -> None:
    """Time both and print the ratios."""
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=PIXELS, default="demo", help="network and images of the demo or the paper")
    parser.add_argument("--device", choices=ON, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=STEPS, help="evaluations of the network")
    parser.add_argument("--batch", type=int, help="images at a time")
    parser.add_argument("--repeats", type=int, help="turns")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    batch, repeats, side = ON[device.type]
    batch, repeats = arguments.batch or batch, arguments.repeats or repeats
    torch.backends.cudnn.benchmark = device.type == "cuda"

    settings = generator(arguments.size)
    torch.manual_seed(0)
    denoiser = Denoiser(settings).eval()
    nn.init.normal_(denoiser.last, std=0.02)
    plain = copy.deepcopy(denoiser.network.unet).to(device)
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    draw = Draw(denoiser, STATISTICS, settings, device, "accelerator")
    inputs = follow_up_inputs(batch, PIXELS[arguments.size])
    runs: dict[str, Callable[[], Tensor]] = {}
    for sampler, theirs in (("ddim", DDIMScheduler), ("ancestral", DDPMScheduler)):
        runs[f"ours, {sampler}"] = ours(draw, inputs, sampler, arguments.steps)
        for name, network in (("MONAI", plain), ("MONAI channels-last", last)):
            runs[f"{name}, {sampler}"] = monai(network, draw, inputs, theirs, arguments.steps)
    images = {name: run() for name, run in runs.items()}  # also compiles and warms up
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(seconds(run, device))

    flops = flops_of(settings, PIXELS[arguments.size])
    peak = matmul_peak(device, side)
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{arguments.size}: {PIXELS[arguments.size]} x {PIXELS[arguments.size]}, ", end="")
    print(
        f"{sum(p.numel() for p in plain.parameters()) / 1e6:.1f} M parameters, {flops / 1e9:.4g} GFLOP a step and image"
    )
    print(f"{device_name}{threads}, {precision(device)[1]}, batch of {batch}, {arguments.steps} steps, {repeats} turns")
    print(f"our network is {'not ' if draw.denoised.compiled is None else ''}compiled\n")
    print("| sampler | images per second | MONAI | ratio | MONAI channels-last | ratio | share of the peak |")
    print("|---|---|---|---|---|---|---|")
    for sampler in ("ddim", "ancestral"):
        rates = {name: batch / statistics.median(times[f"{name}, {sampler}"]) for name in NAMES}
        ratios = [ratio(times[f"{name}, {sampler}"], times[f"ours, {sampler}"]) for name in NAMES[1:]]
        share = rates["ours"] * arguments.steps * flops / peak
        print(f"| {sampler} | {rates['ours']:.4g} | {rates['MONAI']:.4g} | {ratios[0]:.2f} |", end=" ")
        print(f"{rates['MONAI channels-last']:.4g} | {ratios[1]:.2f} | {100 * share:.0f} % |")
    difference = (images["ours, ddim"] - images["MONAI, ddim"]).abs().max().item()
    spread = np.ptp(images["ours, ddim"].numpy())
    print(f"\nlargest difference of the DDIM images {difference:.2g}, of a range of {spread:.2g}")
    print(f"peak of matrix products, {precision(device)[1]}: {peak / 1e12:.4g} TFLOP/s")
    rate = batch / statistics.median(times["ours, ddim"]) * arguments.steps / STEPS
    work = FOLLOW_UPS * STEPS * flops
    print(f"{FOLLOW_UPS:,} follow-ups in {STEPS} steps, {work / 1e15:.4g} PFLOP: {FOLLOW_UPS / rate:,.0f} s", end="")
    print(f"; at the peak {work / peak:,.0f} s")


NAMES = ("ours", "MONAI", "MONAI channels-last")


def generator(size: str) -> LongMSDiffSettings:
    """The generator of the config of a size, with v and the linear schedule: so both can be compared closely."""
    section = merged_config(size=size)["synthesis"]["long_ms_diff"]
    section["training"]["precision"] = "bf16"
    section["objective"]["prediction"] = "v"
    section["objective"]["schedule"]["backend"] = "linear_beta"
    return check(LongMSDiffSettings, chosen(section))


def chosen(section: Any) -> Any:
    """A section as commands get it: of every part with a backend, that one's options."""
    if not isinstance(section, dict):
        return section
    if "backend" in section:
        backend = section["backend"]
        return {"backend": backend, "options": chosen(section[backend])}
    return {key: chosen(value) for key, value in section.items()}


def follow_up_inputs(batch: int, pixels: int) -> tuple[Tensor, Tensor, Tensor, list[int]]:
    """Baselines and masks (B, 1, H, W), scalars (B, 3) and seeds."""
    random = torch.Generator().manual_seed(0)
    baseline = torch.randn(batch, 1, pixels, pixels, generator=random).clamp(-1, 1)
    mask = (torch.rand(batch, 1, pixels, pixels, generator=random) < 0.002).float()
    return baseline, mask, torch.tensor([[200.0, 3.0, 1.0]]).repeat(batch, 1), list(range(batch))


def ours(draw: Draw, inputs: tuple[Any, ...], name: str, steps: int) -> Callable[[], Tensor]:
    """Our draw."""
    options = {"spacing": "t", "clip": None} | ({"eta": 0.0} if name == "ddim" else {})
    choice = {"backend": name, "options": options}
    settings = check(SamplerSettings, {"sampler": choice, "steps": steps, "guidance_weight": 0.0})
    return lambda: draw(*inputs, settings).cpu()


def monai(unet: nn.Module, draw: Draw, inputs: tuple[Any, ...], kind: type[Any], steps: int) -> Callable[[], Tensor]:
    """MONAI's inferer on the same network, its discrete steps told to the network as noise levels."""
    baseline, mask, scalars, seeds = inputs
    values = torch.from_numpy(standardised(scalars.double().numpy(), draw.statistics))
    condition = channels(baseline, mask, values, draw.settings.conditions).to(draw.denoised.device)
    first = noise_like(baseline.shape[1:], seeds).to(draw.denoised.device)
    betas = {"beta_start": 1e-4, "beta_end": 0.02}
    scheduler = kind(CHAIN, "linear_beta", clip_sample=False, prediction_type="v_prediction", **betas)
    scheduler.set_timesteps(steps)
    # Ours are the last of each CHAIN / steps; theirs by default the first.
    scheduler.timesteps = torch.from_numpy(np.arange(CHAIN, 0, -CHAIN // steps) - 1)
    times = embedding_time(torch.logit(scheduler.alphas_cumprod.double())).to(draw.denoised.device)

    class Network(nn.Module):
        def forward(self, x: Tensor, timesteps: Tensor, context: Tensor | None = None) -> Tensor:
            return unet(x, times[timesteps.long()].expand(len(x)))[:, :1].float()  # type: ignore[no-any-return]

    inferer, wrapped = DiffusionInferer(scheduler), Network()

    def run() -> Tensor:
        with precision(draw.denoised.device)[0]:
            drawn = inferer.sample(first, wrapped, scheduler, conditioning=condition, mode="concat", verbose=False)
        return drawn.cpu()  # type: ignore[no-any-return]

    return run


def precision(device: torch.device) -> tuple[AbstractContextManager[Any], str]:
    """What both networks run in, and its name."""
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


def ratio(theirs: list[float], our: list[float]) -> float:
    """The median over turns of their time over ours."""
    return statistics.median(a / b for a, b in zip(theirs, our, strict=True))


def flops_of(settings: LongMSDiffSettings, pixels: int) -> int:
    """FLOPs of the network for one image, counted without computing any; a multiplication and an addition are two."""
    with torch.device("meta"):
        denoiser = Denoiser(settings).eval()
        image = torch.empty(1, 1, pixels, pixels)
        condition, level = torch.empty(1, 5, pixels, pixels), torch.empty(1)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        denoiser.network(image, level, condition)
    return int(counter.get_total_flops())


def matmul_peak(device: torch.device, side: int) -> float:
    """The most FLOP/s of ten products of square matrices, in the precision of the networks."""
    kind = torch.float32 if device.type == "cpu" else torch.bfloat16
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    seconds(lambda: a @ b, device)
    return 2 * side**3 / min(seconds(lambda: a @ b, device) for _ in range(10))


if __name__ == "__main__":
    main()
