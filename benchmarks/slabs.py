"""Slabs: slices as channels against a 3-D UNet, and what both stages of the forecasts ask for.

    python benchmarks/slabs.py [--part networks|cost ...] [--size demo|paper] [--device cpu|cuda] [--batch N]
                               [--repeats N]

networks    Seconds and memory of a training step and of an evaluation: the UNet that has slices as channels, and
            MONAI's 3-D UNet with as many parameters, which is narrower. The 3-D one halves slices too, so that a slab
            is padded to what its levels divide. Timed by turns in one run, so that ratios do not depend on what else
            the machine does; memory is computed without numbers, as benchmarks/memory.py does. Without turns
            (--repeats 0) nothing is run.
cost        Parameters, FLOPs and computed memory of both stages and of the draws, and hours at an assumed speed.

Float32 on a CPU, bfloat16 on a GPU; the cost is always that of bfloat16.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
import measuring
import memory
from forecasting import ON, SIDE, awake, network_of, section

from msdiff.networks.conditional_unet import embedding_time
from msdiff.networks.padding import pad_to_multiple
from msdiff.networks.pseudo_2d import ControlledUNet, Pseudo2DSettings, Pseudo2DUNet, SlabSizes

ASSUMED = 50e12  # FLOP/s of a GPU, as `python -m msdiff plan` assumes of an A100
GIB = 2**30
CPU = torch.device("cpu")
# Held-out patients, of 2131 or of the demo's.
PATIENTS = {"demo": 24, "paper": 213}

Step = Callable[[nn.Module, Sequence[Tensor], bool], None]
Build = Callable[[], nn.Module]
Inputs = Callable[[torch.device], Sequence[Tensor]]


def main() -> None:
    """Print the tables of the parts asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", nargs="*", choices=["networks", "cost"], default=["networks", "cost"])
    parser.add_argument("--size", choices=SIDE, default="demo", help="networks and slabs of the demo or the paper")
    parser.add_argument("--device", choices=ON, default="cpu")
    parser.add_argument("--batch", type=int, help="slabs at a time")
    parser.add_argument("--repeats", type=int, help="turns")
    arguments = parser.parse_args()
    batch, repeats = ON[arguments.device]
    if "networks" in arguments.part:
        device = torch.device(arguments.device)
        compare(
            arguments.size,
            device,
            arguments.batch or batch,
            repeats if arguments.repeats is None else arguments.repeats,
        )
    if "cost" in arguments.part:
        sum_up(arguments.size)


class UNet3D(nn.Module):
    """MONAI's 3-D UNet over slabs (B, 1, S, H, W), classes and noise levels as `Pseudo2DUNet` takes them."""

    def __init__(self, settings: Pseudo2DSettings, arms: int) -> None:
        super().__init__()
        self.multiple = 2 ** (len(settings.channels) - 1)
        self.unet = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=1,
            out_channels=1,
            num_res_blocks=settings.residual_blocks,
            channels=settings.channels,
            attention_levels=settings.attention,
            norm_num_groups=settings.norm_groups,
            num_head_channels=settings.head_channels,
            num_class_embeds=arms + 1,
            use_flash_attention=True,
        )

    def forward(self, z: Tensor, logsnr: Tensor, arm: Tensor) -> Tensor:
        """Raw output, of the slab's size."""
        short = -z.shape[2] % self.multiple
        padded = pad_to_multiple(nn.functional.pad(z, (0, 0, 0, 0, 0, short)), self.multiple)
        output: Tensor = self.unet(padded, embedding_time(logsnr), class_labels=arm)
        return output[:, :, : z.shape[2], : z.shape[3], : z.shape[4]]


class Stage2(nn.Module):
    """Both networks as they are trained, images included."""

    def __init__(self, network: ControlledUNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor, logsnr: Tensor, arm: Tensor, images: Tensor) -> Tensor:
        """Raw output, of the slab's size."""
        output: Tensor = self.network(z, logsnr, arm, self.network.control.embed(images))
        return output


def compare(size: str, device: torch.device, batch: int, repeats: int) -> None:
    """Slices as channels against a 3-D network of as many parameters."""
    torch.backends.cudnn.benchmark = device.type == "cuda"
    settings, sizes = network_of(section(size))
    # The plain network on either side: transformer blocks are the same in both.
    settings = settings.model_copy(update={"cross_attention": None})
    alike = as_large(settings, sizes)
    kinds: dict[str, Callable[[], nn.Module]] = {
        "slices as channels": lambda: Pseudo2DUNet(settings, sizes),
        "3-D": lambda: UNet3D(alike, sizes.arms),
    }
    shape = (batch, 1, sizes.slices, SIDE[size], SIDE[size])
    half = device.type == "cuda"
    times = {}
    if repeats:
        runs: dict[str, Callable[[], Any]] = {}
        for name, build in kinds.items():
            network = awake(build()).to(device)
            for what, step in STEPS.items():
                runs[f"{name}, {what}"] = partial(step, network, inputs(shape, device), half)
        for run in runs.values():
            run()
        times = measuring.by_turns(runs, device, repeats)
    print(f"slabs of {' x '.join(map(str, shape[2:]))}, {batch} at once, {repeats} turns\n")
    columns = ["network", "million parameters", "widths", "GFLOP a slab"]
    columns += [f"{what}, {unit}" for unit in ("s", "GiB") for what in STEPS]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    peaks: dict[str, list[float]] = {}
    for name, build in kinds.items():
        widths = "-".join(map(str, (settings if name != "3-D" else alike).channels))
        seconds = [f"{statistics.median(times[f'{name}, {what}']):.3g}" if times else "-" for what in STEPS]
        peaks[name] = [peak(build, step, partial(inputs, shape), half) for step in STEPS.values()]
        each = flops(build, evaluate, partial(inputs, (1, *shape[1:])))
        with torch.device("meta"):
            parameters = count(build())
        cells = [f"{parameters / 1e6:.3g}", widths, f"{each / 1e9:.4g}"]
        cells += seconds + [f"{value / GIB:.2f}" for value in peaks[name]]
        print(f"| {name} | {' | '.join(cells)} |")
    first, second = kinds
    ratios = [
        f"{measuring.ratio(times[f'{second}, {what}'], times[f'{first}, {what}']):.2f}" if times else "-"
        for what in STEPS
    ]
    ratios += [f"{b / a:.2f}" for a, b in zip(peaks[first], peaks[second], strict=True)]
    print(f"| ratio |  |  |  | {' | '.join(ratios)} |")


def as_large(settings: Pseudo2DSettings, sizes: SlabSizes) -> Pseudo2DSettings:
    """The widths of a 3-D network with about as many parameters: all narrower by one factor, in whole groups."""
    with torch.device("meta"):
        wanted = count(Pseudo2DUNet(settings, sizes))
        # The middle attends in any case.
        heads = [*settings.attention[:-1], True]
        steps = [settings.head_channels if attends else settings.norm_groups for attends in heads]

        def narrowed(factor: float) -> Pseudo2DSettings:
            pairs = zip(settings.channels, steps, strict=True)
            widths = tuple(max(step, round(width * factor / step) * step) for width, step in pairs)
            return settings.model_copy(update={"channels": widths})

        candidates = [narrowed(factor) for factor in np.linspace(0.3, 1.0, 71)]
        return min(candidates, key=lambda each: abs(count(UNet3D(each, sizes.arms)) - wanted))


def count(network: nn.Module) -> int:
    """Parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def inputs(shape: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy slabs, noise levels and arms."""
    rows = shape[0]
    z, logsnr = torch.zeros(*shape, device=device), torch.zeros(rows, device=device)
    return z, logsnr, torch.zeros(rows, dtype=torch.int64, device=device)


def precision(device: torch.device, half: bool) -> AbstractContextManager[Any]:
    """Bfloat16 where a network may take it, or float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if half else nullcontext()


def train_step(network: nn.Module, given: Sequence[Tensor], half: bool) -> None:
    """Forwards and backwards."""
    with precision(given[0].device, half):
        loss = network(*given).float().square().mean()
    loss.backward()
    network.zero_grad(set_to_none=True)


def evaluate(network: nn.Module, given: Sequence[Tensor], half: bool) -> None:
    """Forwards."""
    with torch.no_grad(), precision(given[0].device, half):
        network(*given)


def prepared(build: Build, step: Step, given: Inputs, half: bool, kept: int, device: torch.device) -> memory.Prepared:
    """A step for `memory.computed` and `memory.measured`; `kept` copies of what is trained live beside it."""
    network = build().to(device) if device.type == "cuda" else build()
    copies = [torch.empty_like(each) for each in network.parameters() if each.requires_grad for _ in range(kept)]
    return [*network.parameters(), *copies], lambda: step(network, given(device), half)


def peak(build: Build, step: Step, given: Inputs, half: bool, kept: int = 0) -> float:
    """Bytes at the peak of a step, parameters and `kept` copies of what is trained included; without numbers."""
    return memory.computed(partial(prepared, build, step, given, half, kept))


def flops(build: Build, step: Step, given: Inputs) -> int:
    """FLOPs of a step, counted without computing any; a multiplication and an addition are two."""
    meta = torch.device("meta")
    with meta:
        network = build()
    return measuring.flops_of(lambda: step(network, given(meta), False))


class Sizes:
    """Networks and inputs of both stages and of the draws, at the size of the demo or the paper."""

    def __init__(self, size: str) -> None:
        self.config = section(size)
        self.settings, self.sizes = network_of(self.config)
        self.shape = (self.sizes.slices, SIDE[size], SIDE[size])
        # Of both trainings: network and inputs.
        self.stages: dict[str, tuple[Build, Callable[[int, torch.device], Sequence[Tensor]]]] = {
            "prior": (self.prior, self.slabs),
            "control": (lambda: Stage2(self.controlled()), self.with_images),
        }

    def prior(self) -> nn.Module:
        """The UNet of stage 1."""
        return Pseudo2DUNet(self.settings, self.sizes)

    def controlled(self) -> ControlledUNet:
        """Both networks, of which the ControlNet is trained."""
        network = ControlledUNet(self.settings, self.sizes)
        network.prior.requires_grad_(False)
        return network

    def slabs(self, rows: int, device: torch.device) -> Sequence[Tensor]:
        """What the prior takes."""
        return inputs((rows, 1, *self.shape), device)

    def with_images(self, rows: int, device: torch.device) -> Sequence[Tensor]:
        """What stage 2 takes."""
        return [*self.slabs(rows, device), torch.zeros(rows, self.sizes.images, *self.shape, device=device)]

    def with_embedded(self, rows: int, device: torch.device) -> Sequence[Tensor]:
        """What a draw asks both networks, at every step."""
        features = torch.zeros(rows, self.settings.channels[0], *self.shape[1:], device=device)
        return [*self.slabs(rows, device), features]


def training_flops(size: str) -> dict[str, int]:
    """FLOPs of a slab in the trainings of both stages, forwards and backwards."""
    return {name: flops(build, train_step, partial(given, 1)) for name, (build, given) in Sizes(size).stages.items()}


def sum_up(size: str) -> None:
    """What both stages and the draws ask for."""
    of = Sizes(size)
    config = of.config
    with torch.device("meta"):
        unet, both = (count(network()) / 1e6 for network in (of.prior, of.controlled))
    print(f"\n{unet:.1f} M parameters in the UNet, {both:.1f} M with the ControlNet")
    print(f"slabs of {' x '.join(map(str, of.shape))}; hours at an assumed {ASSUMED / 1e12:.0f} TFLOP/s\n")
    print("| what | at once | GFLOP a slab | GiB | how often | hours |")
    print("|---|---|---|---|---|---|")

    def line(what: str, rows: int, each: int, peak_bytes: float, total: int) -> None:
        hours = total * each / ASSUMED / 3600
        print(f"| {what} | {rows} | {each / 1e9:.4g} | {peak_bytes / GIB:.1f} | {total:,} | {hours:.1f} |")

    for name, each in training_flops(size).items():
        build, given = of.stages[name]
        training = config[name]["training"]
        rows = training["batch_size"] // training["micro_batches"]
        # AdamW's two moments and the average of the weights are kept beside them.
        most = peak(build, train_step, partial(given, rows), True, kept=3)
        line(f"{name}, a training step", rows, each, most, training["steps"] * training["batch_size"])
    answers = 2 if config["sampler"]["guidance_weight"] else 1
    rows = config["sample_batch"] * answers
    each = flops(of.controlled, evaluate, partial(of.with_embedded, 1))
    most = peak(of.controlled, evaluate, partial(of.with_embedded, rows), True)
    for purpose, plan in config["draws"].items():
        patients = plan["patients"] or PATIENTS[size]
        draws = patients * plan["draws"] * (len(config["arms"]) if plan["arms"] == "all" else 1)
        line(f"{purpose}, an evaluation", rows, each, most, draws * config["sampler"]["steps"] * answers)


STEPS: dict[str, Step] = {"training": train_step, "evaluation": evaluate}

if __name__ == "__main__":
    main()
