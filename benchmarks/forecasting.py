"""Draws per second of our forecaster over MONAI's: ControlNetDiffusionInferer with its DDIM and DDPM schedulers.

    python benchmarks/forecasting.py [--size demo|paper] [--device cpu|cuda] [--steps 10] [--batch N] [--repeats N]

Both have the same UNet and ControlNet with the same weights, equal steps, guidance and precision (float32 on a CPU,
bfloat16 on a GPU), and sample by turns in one run, so that the ratios do not depend on what else the machine does. Ours
is the sampling of `sample-forecasts`, from arrays on the CPU to arrays on the CPU: images are embedded once a draw,
networks are channels-last, in batches of a fixed size on a CPU, compiled on a GPU. MONAI's loop embeds the images at
every step and runs eagerly; for a stricter comparison it is also tried with channels-last weights.

Prints draws per second, the ratio (above 1: ours is faster; the median over turns) and the largest difference of the
draws where the mathematics is the same (DDIM). benchmarks/slabs.py has the networks' own times, memory and FLOPs.
"""

import argparse
import copy
import logging
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import ControlNetDiffusionInferer
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
import measuring
from measuring import CHANNELS_LAST, MONAI, OURS, SAMPLERS, Comparison

from msdiff.config_files import merged_config
from msdiff.diffusion.sampler import SamplerSettings, noise_like
from msdiff.forecasting.control import KIND
from msdiff.forecasting.forecaster import Forecaster, load
from msdiff.networks.conditional_unet import embedding_time
from msdiff.networks.pseudo_2d import ControlledUNet, Pseudo2DSettings, SlabSizes
from msdiff.networks.weights import save_weights
from msdiff.settings import check

# Slab of the demo and of the paper.
SIDE = {"demo": 64, "paper": 256}
# At once, turns.
ON = {"cpu": (8, 7), "cuda": (16, 5)}


def main() -> None:
    """Time both and print the ratios."""
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=SIDE, default="demo", help="networks and slabs of the demo or the paper")
    parser.add_argument("--device", choices=ON, default="cpu")
    parser.add_argument("--steps", type=int, default=10, help="evaluations of a draw")
    parser.add_argument("--batch", type=int, help="draws at a time")
    parser.add_argument("--repeats", type=int, help="turns")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    batch, repeats = ON[arguments.device]
    batch, repeats = arguments.batch or batch, arguments.repeats or repeats
    found = compare(arguments.size, device, arguments.steps, batch, repeats)
    print(f"{arguments.size}: {measuring.device_name(device)}, {measuring.precision(device)[1]}, ", end="")
    print(f"batch of {batch}, {arguments.steps} steps, {repeats} turns\n")
    print(measuring.table(found, "draws", measuring.matmul_peak(device)))


def section(size: str) -> dict[str, Any]:
    """Section `forecasting` of the config of a size."""
    config = merged_config(size=size)
    # v and a chain of discrete steps, which MONAI's schedulers have too.
    objective = config["forecasting"]["prior"]["objective"]
    objective["prediction"] = "v"
    objective["schedule"] = {
        "backend": "linear_beta",
        "linear_beta": config["synthesis"]["long_ms_diff"]["objective"]["schedule"]["linear_beta"],
    }
    found: dict[str, Any] = config["forecasting"]
    return found


def network_of(config: dict[str, Any]) -> tuple[Pseudo2DSettings, SlabSizes]:
    """The network's settings, and what its slabs hold: masks, forecast from the images and masks of two sessions."""
    settings = check(Pseudo2DSettings, config["network"][config["network"]["backend"]])
    return settings, SlabSizes(config["slabs"]["slices"], 1, len(channels_of(config)), len(config["arms"]))


def channels_of(config: dict[str, Any]) -> list[str]:
    """What a forecaster of the first two sessions is given."""
    first, second = config["slabs"]["sessions"][:2]
    return [f"{image}@{session}" for session in (first, second) for image in config["slabs"]["images"]] + [
        f"net2@{second}"
    ]


def awake(network: nn.Module) -> nn.Module:
    """With something in what starts at zero, so that ControlNet and output say something."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return network.eval()


def compare(size: str, device: torch.device, steps: int, batch: int, repeats: int) -> Comparison:
    """Ours and MONAI's by turns."""
    torch.backends.cudnn.benchmark = device.type == "cuda"
    config = section(size)
    settings, sizes = network_of(config)
    torch.manual_seed(0)
    network = awake(ControlledUNet(settings, sizes))
    forecaster = ours(network, config, sizes, size, device)
    random = torch.Generator().manual_seed(0)
    images = torch.randn(batch, sizes.images, sizes.slices, SIDE[size], SIDE[size], generator=random).clamp(-1, 1)
    arms = torch.arange(batch) % sizes.arms
    weight = float(config["sampler"]["guidance_weight"])
    runs: dict[str, Callable[[], Tensor]] = {}
    for name, scheduler in zip(SAMPLERS, (DDIMScheduler, DDPMScheduler), strict=True):
        options = {"spacing": "t", "clip": None} | ({"eta": 0.0} if name == "ddim" else {})
        choice = {"sampler": {"backend": name, "options": options}, "steps": steps, "guidance_weight": weight}
        chosen = check(SamplerSettings, choice)
        runs[f"{OURS}, {name}"] = partial(sample_masks, forecaster, images, arms, chosen)
        for kind, layout in ((MONAI, torch.contiguous_format), (CHANNELS_LAST, torch.channels_last)):
            theirs = copy.deepcopy(network).to(device, memory_format=layout)  # type: ignore[call-overload]
            runs[f"{kind}, {name}"] = monai(theirs, images, arms, scheduler, steps, weight, device)
    rows, difference, spread = measuring.compared(runs, batch, device, repeats)
    # With guidance a draw is two rows.
    flops = steps * (2 if weight else 1) * flops_of_slab(settings, sizes, SIDE[size])
    return Comparison(rows, batch, flops, difference, spread, forecaster.denoised.compiled is not None)


def flops_of_slab(settings: Pseudo2DSettings, sizes: SlabSizes, side: int) -> int:
    """FLOPs of one evaluation of both networks for a slab, its images embedded already."""
    with torch.device("meta"):
        network = ControlledUNet(settings, sizes).eval()
        z, logsnr = torch.empty(1, 1, sizes.slices, side, side), torch.empty(1)
        arm, features = torch.zeros(1, dtype=torch.int64), torch.empty(1, settings.channels[0], side, side)
    with torch.no_grad():
        return measuring.flops_of(lambda: network(z, logsnr, arm, features))


def sample_masks(forecaster: Forecaster, images: Tensor, arms: Tensor, chosen: SamplerSettings) -> Tensor:
    """Masks (B, z, y, x) on the CPU."""
    return forecaster(images, arms, list(range(len(arms))), chosen).cpu()


def ours(network: nn.Module, config: dict[str, Any], sizes: SlabSizes, size: str, device: torch.device) -> Forecaster:
    """The forecaster of these weights, as a weights file would make it."""
    prior = {"network": config["network"], "prior": config["prior"]}
    control = {"control": config["control"], "model": config["models"]["two_sessions"]}
    control["control"]["training"]["precision"] = "bf16"
    described = {
        "settings": measuring.chosen(prior),
        "generated": ["net2@w096"],
        "arms": config["arms"],
        "sessions": config["slabs"]["sessions"],
        "shape": [SIDE[size], SIDE[size], sizes.slices],
        "patients": [],
    }
    description = {
        "kind": KIND,
        "model": "two_sessions",
        "channels": channels_of(config),
        "settings": measuring.chosen(control),
        "prior": described,
        "patients": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_weights(network.state_dict(), description, path)
        return load(path, device, "accelerator")


def monai(
    network: nn.Module,
    images: Tensor,
    arms: Tensor,
    kind: type[Any],
    steps: int,
    weight: float,
    device: torch.device,
) -> Callable[[], Tensor]:
    """MONAI's inferer on the same UNet and ControlNet; classes, the arm's token and zero images come by wrappers."""
    prior, control = network.prior, network.control
    net = control.control
    net.register_module("controlnet_cond_embedding", control.embedding)
    guided = weight != 0
    null = torch.full_like(arms, int(prior.unet.num_class_embeds) - 1)
    # MONAI has the unconditional half first.
    labels = (torch.cat([null, arms]) if guided else arms).to(device)
    both = (torch.cat([torch.zeros_like(images), images]) if guided else images).flatten(1, 2).to(device)
    betas = {"beta_start": 1e-4, "beta_end": 0.02}
    scheduler = kind(1000, "linear_beta", clip_sample=False, prediction_type="v_prediction", **betas)
    scheduler.set_timesteps(steps)
    scheduler.timesteps = torch.from_numpy(np.arange(1000, 0, -1000 // steps) - 1)
    times = embedding_time(torch.logit(scheduler.alphas_cumprod.double())).to(device)

    def given(tokens: nn.Module | None, t: Tensor, rows: int) -> dict[str, Any]:
        context = None if tokens is None else tokens(labels)[:, None]
        return {"timesteps": times[t.long()].expand(rows), "context": context, "class_labels": labels}

    class Control(nn.Module):
        def forward(self, x: Tensor, timesteps: Tensor, controlnet_cond: Tensor, context: Tensor | None) -> Any:
            return net(x, controlnet_cond=both, **given(control.tokens, timesteps, len(x)))

    class UNet(nn.Module):
        def forward(self, x: Tensor, timesteps: Tensor, context: Tensor | None, **residuals: Any) -> Tensor:
            output: Tensor = prior.unet(x, **given(prior.tokens, timesteps, len(x)), **residuals).float()
            return output

    shape = (images.shape[2], *images.shape[3:])
    first = noise_like((1, *shape), range(len(images)))[:, 0].to(device)
    inferer, unet, controlnet = ControlNetDiffusionInferer(scheduler), UNet(), Control()
    options = {"verbose": False, "cfg": 1 + weight if guided else None}

    def run() -> Tensor:
        with measuring.precision(device)[0]:
            sampled: Tensor = inferer.sample(first, unet, controlnet, both[: len(first)], scheduler, **options)
        return sampled.cpu()

    return run


if __name__ == "__main__":
    main()
