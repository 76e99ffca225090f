"""Time of our sampling loop over MONAI's, on the same network: DiffusionInferer with DDIMScheduler, equal steps.

    python benchmarks/sampling.py [--steps 20] [--batch 8] [--repeats 5]

Both draw the same follow-ups of the demo's size (64 x 64) on the CPU, by turns in one run, so that the ratio does not
depend on what else the machine does. Prints the median time of each, the ratio (below 1: ours is faster) and the
largest difference of the images.
"""

import argparse
import logging
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from monai.inferers import DiffusionInferer
from monai.networks.schedulers import DDIMScheduler
from torch import Tensor, nn

from msdiff.diffusion import noise, objective, sampler
from msdiff.networks.conditional_unet import ConditionalUNet, ConditionalUNetSettings, embedding_time
from msdiff.settings import check

NETWORK = {
    "in_channels": 6,
    "out_channels": 1,
    "channels": [16, 32, 64, 64],
    "residual_blocks": 1,
    "attention": [False, False, False, True],
    "head_channels": 32,
    "norm_groups": 16,
}
CHAIN = 1000  # steps of the discrete chain that both take a part of
SCHEDULE = {"beta_first": 1e-4, "beta_last": 0.02, "steps": CHAIN, "logsnr_min": -20.0, "logsnr_max": 20.0}
OPTIONS = {"spacing": "t", "clip": None, "eta": 0.0}


def main() -> None:
    """Time both and print the ratio."""
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network = ConditionalUNet(check(ConditionalUNetSettings, NETWORK)).eval().to(memory_format=torch.channels_last)
    nn.init.normal_(network.unet.out[-1].conv.weight, std=0.02)
    seeds = range(arguments.batch)
    first = sampler.noise_like((1, 64, 64), seeds)
    condition = torch.randn(arguments.batch, 5, 64, 64)
    ours, theirs = (
        our_loop(network, first, condition, arguments.steps),
        monai_loop(network, first, condition, arguments.steps),
    )
    difference = (ours() - theirs()).abs().max().item()
    times: dict[str, list[float]] = {"ours": [], "MONAI": []}
    for _ in range(arguments.repeats):
        for name, run in (("ours", ours), ("MONAI", theirs)):
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    print(f"DDIM, {arguments.steps} steps, batch of {arguments.batch}, 64 x 64, {torch.get_num_threads()} threads")
    for name, value in seconds.items():
        print(f"{name:6s} {value:7.3f} s")
    print(f"ratio  {seconds['ours'] / seconds['MONAI']:7.3f}")
    print(f"largest difference of the images {difference:.2g}")


def our_loop(network: ConditionalUNet, first: Tensor, condition: Tensor, steps: int) -> Callable[[], Tensor]:
    """Our sampler on a network that predicts the noise."""
    schedule = noise.load_schedule("linear_beta", SCHEDULE)

    def denoise(z: Tensor, logsnr: Tensor) -> Tensor:
        return objective.to_x(network(z, logsnr, condition), z, logsnr, "eps")

    return lambda: sampler.sample(denoise, first, schedule, "ddim", steps, OPTIONS, range(len(first)))


def monai_loop(network: ConditionalUNet, first: Tensor, condition: Tensor, steps: int) -> Callable[[], Tensor]:
    """MONAI's inferer on the same network, its discrete steps told to the network as noise levels."""
    scheduler = DDIMScheduler(
        num_train_timesteps=CHAIN, schedule="linear_beta", beta_start=1e-4, beta_end=0.02, clip_sample=False
    )
    scheduler.set_timesteps(steps)
    # Ours are the last of each CHAIN / steps; theirs by default the first.
    scheduler.timesteps = torch.from_numpy(np.arange(CHAIN, 0, -CHAIN // steps) - 1)

    class Network(nn.Module):
        def forward(self, x: Tensor, timesteps: Tensor, context: Tensor | None = None) -> Tensor:
            logsnr = torch.logit(scheduler.alphas_cumprod[timesteps.long()].double()).float()
            return network.unet(x, embedding_time(logsnr).expand(len(x)))  # type: ignore[no-any-return]

    inferer, wrapped = DiffusionInferer(scheduler), Network()

    def run() -> Tensor:
        with torch.no_grad():
            return inferer.sample(first, wrapped, scheduler, conditioning=condition, mode="concat", verbose=False)  # type: ignore[no-any-return]

    return run


if __name__ == "__main__":
    main()
