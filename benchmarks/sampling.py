"""Images per second of our sampling over MONAI's: DiffusionInferer with its DDIM and DDPM schedulers, same network.

    python benchmarks/sampling.py [--size demo|paper] [--device cpu|cuda] [--steps 20] [--batch N] [--repeats N]

Both sample with the same weights, in equal steps and the same precision (float32 on a CPU, bfloat16 on a GPU), by turns
in one run, so that the ratios do not depend on what else the machine does. Ours is the sampling of `sample-images`:
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
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import DiffusionInferer
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from measuring import (
    CHANNELS_LAST,
    MONAI,
    OURS,
    SAMPLERS,
    Comparison,
    chosen,
    compared,
    device_name,
    flops_of,
    matmul_peak,
    precision,
    table,
)

from msdiff.config_files import merged_config
from msdiff.diffusion.sampler import SamplerSettings, noise_like
from msdiff.networks.conditional_unet import embedding_time
from msdiff.settings import check
from msdiff.synthesis.long_ms_diff.conditions import channels, standardised
from msdiff.synthesis.long_ms_diff.denoiser import Denoiser
from msdiff.synthesis.long_ms_diff.follow_ups import FollowUpSampler
from msdiff.synthesis.long_ms_diff.options import LongMSDiffSettings

ROOT = Path(__file__).parents[1]
CHAIN = 1000  # steps of the discrete chain that both take a part of
PIXELS = {"demo": 64, "paper": 256}
# At once, turns.
ON = {"cpu": (8, 7), "cuda": (32, 5)}
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
    batch, repeats = ON[device.type]
    batch, repeats = arguments.batch or batch, arguments.repeats or repeats
    found = compare(arguments.size, device, arguments.steps, batch, repeats)
    peak, each = matmul_peak(device), found.flops // arguments.steps
    name = precision(device)[1]
    pixels = PIXELS[arguments.size]
    print(f"{arguments.size}: {pixels} x {pixels}, {each / 1e9:.4g} GFLOP a step and image")
    print(f"{device_name(device)}, {name}, batch of {batch}, {arguments.steps} steps, {repeats} turns")
    print(f"peak of matrix products, {name}: {peak / 1e12:.4g} TFLOP/s\n")
    print(table(found, "images", peak))
    rate = found.compared[0].rates[OURS] * arguments.steps / STEPS
    work = FOLLOW_UPS * STEPS * each
    print(f"\n{FOLLOW_UPS:,} follow-ups in {STEPS} steps, {work / 1e15:.4g} PFLOP: {FOLLOW_UPS / rate:,.0f} s", end="")
    print(f"; at the peak {work / peak:,.0f} s")


def compare(size: str, device: torch.device, steps: int, batch: int, repeats: int) -> Comparison:
    """Ours and MONAI's by turns."""
    torch.backends.cudnn.benchmark = device.type == "cuda"
    settings = generator(size)
    torch.manual_seed(0)
    denoiser = Denoiser(settings).eval()
    nn.init.normal_(denoiser.last, std=0.02)
    plain = copy.deepcopy(denoiser.network.unet).to(device)
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    sample = FollowUpSampler(denoiser, STATISTICS, settings, device, "accelerator")
    inputs = follow_up_inputs(batch, PIXELS[size])
    runs: dict[str, Callable[[], Tensor]] = {}
    for sampler, theirs in zip(SAMPLERS, (DDIMScheduler, DDPMScheduler), strict=True):
        runs[f"{OURS}, {sampler}"] = ours(sample, inputs, sampler, steps)
        for name, network in ((MONAI, plain), (CHANNELS_LAST, last)):
            runs[f"{name}, {sampler}"] = monai(network, sample, inputs, theirs, steps)
    rows, difference, spread = compared(runs, batch, device, repeats)
    flops = steps * flops_of_slice(settings, PIXELS[size])
    return Comparison(rows, batch, flops, difference, spread, sample.denoised.compiled is not None)


def generator(size: str) -> LongMSDiffSettings:
    """The generator of the config of a size, with v and the linear schedule: so both can be compared closely."""
    section = merged_config(size=size)["synthesis"]["long_ms_diff"]
    section["training"]["precision"] = "bf16"
    section["objective"]["prediction"] = "v"
    section["objective"]["schedule"]["backend"] = "linear_beta"
    return check(LongMSDiffSettings, chosen(section))


def follow_up_inputs(batch: int, pixels: int) -> tuple[Tensor, Tensor, Tensor, list[int]]:
    """Baselines and masks (B, 1, H, W), scalars (B, 3) and seeds."""
    random = torch.Generator().manual_seed(0)
    baseline = torch.randn(batch, 1, pixels, pixels, generator=random).clamp(-1, 1)
    mask = (torch.rand(batch, 1, pixels, pixels, generator=random) < 0.002).float()
    return baseline, mask, torch.tensor([[200.0, 3.0, 1.0]]).repeat(batch, 1), list(range(batch))


def ours(sample: FollowUpSampler, inputs: tuple[Any, ...], name: str, steps: int) -> Callable[[], Tensor]:
    """Our sampling."""
    options = {"spacing": "t", "clip": None} | ({"eta": 0.0} if name == "ddim" else {})
    choice = {"backend": name, "options": options}
    settings = check(SamplerSettings, {"sampler": choice, "steps": steps, "guidance_weight": 0.0})
    return lambda: sample(*inputs, settings).cpu()


def monai(
    unet: nn.Module, sample: FollowUpSampler, inputs: tuple[Any, ...], kind: type[Any], steps: int
) -> Callable[[], Tensor]:
    """MONAI's inferer on the same network, its discrete steps told to the network as noise levels."""
    baseline, mask, scalars, seeds = inputs
    values = torch.from_numpy(standardised(scalars.double().numpy(), sample.statistics))
    condition = channels(baseline, mask, values, sample.settings.conditions).to(sample.denoised.device)
    first = noise_like(baseline.shape[1:], seeds).to(sample.denoised.device)
    betas = {"beta_start": 1e-4, "beta_end": 0.02}
    scheduler = kind(CHAIN, "linear_beta", clip_sample=False, prediction_type="v_prediction", **betas)
    scheduler.set_timesteps(steps)
    # Ours are the last of each CHAIN / steps; theirs by default the first.
    scheduler.timesteps = torch.from_numpy(np.arange(CHAIN, 0, -CHAIN // steps) - 1)
    times = embedding_time(torch.logit(scheduler.alphas_cumprod.double())).to(sample.denoised.device)

    class Network(nn.Module):
        def forward(self, x: Tensor, timesteps: Tensor, context: Tensor | None = None) -> Tensor:
            return unet(x, times[timesteps.long()].expand(len(x)))[:, :1].float()  # type: ignore[no-any-return]

    inferer, wrapped = DiffusionInferer(scheduler), Network()

    def run() -> Tensor:
        with precision(sample.denoised.device)[0]:
            sampled = inferer.sample(first, wrapped, scheduler, conditioning=condition, mode="concat", verbose=False)
        return sampled.cpu()  # type: ignore[no-any-return]

    return run


def flops_of_slice(settings: LongMSDiffSettings, pixels: int) -> int:
    """FLOPs of the network for one image, counted without computing any; a multiplication and an addition are two."""
    with torch.device("meta"):
        denoiser = Denoiser(settings).eval()
        image = torch.empty(1, 1, pixels, pixels)
        condition, level = torch.empty(1, 5, pixels, pixels), torch.empty(1)
    with torch.no_grad():
        return flops_of(lambda: denoiser.network(image, level, condition))


if __name__ == "__main__":
    main()
