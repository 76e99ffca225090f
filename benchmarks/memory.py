"""Peak memory of an accelerator in training and in sampling with the networks of the config, by samples at once.

    python benchmarks/memory.py [--train 4 8 16 32] [--sample 32 64 128]

Computed anywhere: torch runs the step without numbers (FakeTensorMode), and what is alive at a time is added up.
Measured too where there is an accelerator. Computed on the CPU's operators under bfloat16, with group normalisation in
single precision as CUDA's autocast has it; not in it are the CUDA context, the convolutions' workspaces and what the
allocator loses between blocks. A compiled network keeps less.

A training step has gradients, AdamW's two moments and the averaged weights beside the weights; Long-MS-Diff's loss has
the variational bound and the auxiliary detector on the share of samples whose noise is little enough. The networks of
the forecasts are in slabs.py; gpu.py asks for the memory of both at the presets of profiles/memory.
"""

import argparse
import math
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

sys.path.insert(0, str(Path(__file__).parent))
from measuring import chosen, seconds

from msdiff.config_files import merged_config
from msdiff.diffusion.noise import add_noise
from msdiff.diffusion.objective import Noised
from msdiff.networks.detectors import build
from msdiff.settings import check
from msdiff.synthesis.long_ms_diff.conditions import CHANNELS
from msdiff.synthesis.long_ms_diff.denoiser import Denoiser
from msdiff.synthesis.long_ms_diff.options import LongMSDiffSettings
from msdiff.synthesis.long_ms_diff.task import segmentation_loss

ROOT = Path(__file__).parent.parent
GIB = 2**30
CPU, ACCELERATOR = torch.device("cpu"), torch.device("cuda")


# On a device: the tensors that live beside a step, and the step.
Prepared = tuple[list[Tensor], Callable[[], None]]
Prepare = Callable[[torch.device], Prepared]


class Measured(NamedTuple):
    """Bytes at the peak of a step, and the seconds that it takes once it is warm."""

    peak: float
    seconds: float


def main() -> None:
    """Print a table of training and one of sampling."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, nargs="*", default=[4, 8, 16, 32], help="samples of a part of a batch")
    parser.add_argument("--sample", type=int, nargs="*", default=[32, 64, 128], help="samples of a batch")
    arguments = parser.parse_args()
    config = merged_config(size="paper")
    side = config["preprocess"]["grid"]["shape"][0]
    with_accelerator = torch.cuda.is_available()
    print(f"GiB at the peak, slices of {side} x {side}, bfloat16; torch {torch.__version__}")
    print(
        f"measured on: {torch.cuda.get_device_name() if with_accelerator else 'nothing, for there is no accelerator'}"
    )
    print("what      at once  computed  measured")
    for name, step, sizes in (("training", train_step, arguments.train), ("sampling", sampling_step, arguments.sample)):
        for rows in sizes:
            prepare = partial(prepared, step, config, rows, side)
            found = f"{measured(prepare).peak / GIB:8.1f}" if with_accelerator else "       -"
            print(f"{name:8} {rows:8} {computed(prepare) / GIB:9.1f}  {found}", flush=True)


Step = Callable[[Denoiser, nn.Module, dict[str, Any], int, int], None]


def train_step(denoiser: Denoiser, detector: nn.Module, config: dict[str, Any], rows: int, side: int) -> None:
    """Forwards and backwards of a part of a batch, as msdiff.synthesis.long_ms_diff.task has it."""
    device = denoiser.last.device
    x, eps, baseline, mask = (torch.zeros(rows, 1, side, side, device=device) for _ in range(4))
    # Their count is what matters, and without numbers none can be chosen by its noise.
    gated = slice(math.ceil(rows * config["auxiliary"]["maximum_time"]))
    with _bf16(device):
        objective = denoiser.objective
        time = torch.ones(rows, dtype=torch.float64, device=device)
        logsnr = objective.schedule(time)
        noised = Noised(x, eps, add_noise(x, eps, logsnr), time, logsnr)
        answer = denoiser(noised.z, logsnr, torch.zeros(rows, CHANNELS, side, side, device=device))
        loss = objective.with_bound(objective.loss(answer.prediction, noised, mask).loss, answer, noised)
        weight = torch.sigmoid(logsnr[gated])
        loss = loss + segmentation_loss(detector, baseline[gated], answer.x_hat[gated], mask[gated], weight)
    loss.backward()


def sampling_step(denoiser: Denoiser, detector: nn.Module, config: dict[str, Any], rows: int, side: int) -> None:
    """One evaluation of the network; a sampler keeps a few images beside it."""
    device = denoiser.last.device
    z, before, condition = (torch.zeros(rows, number, side, side, device=device) for number in (1, 1, CHANNELS))
    with torch.no_grad(), _bf16(device):
        _, x_hat, _ = denoiser(z, torch.zeros(rows, device=device), condition)
    del before, x_hat


def computed(prepare: Prepare) -> float:
    """Bytes at the peak of a step, without numbers."""
    with FakeTensorMode(allow_non_fake_inputs=True), single_precision_normalisation():
        kept, step = prepare(CPU)
        alive = Alive(kept)
        with alive:
            step()
        return float(alive.peak)


def measured(prepare: Prepare) -> Measured:
    """The peak as the accelerator's allocator counts what is asked of it, and the time of the step."""
    kept, step = prepare(ACCELERATOR)
    torch.cuda.reset_peak_memory_stats()
    step()
    took = seconds(step, ACCELERATOR)
    peak = torch.cuda.max_memory_allocated()
    del kept, step
    torch.cuda.empty_cache()
    return Measured(float(peak), took)


def prepared(step: Step, config: dict[str, Any], rows: int, side: int, device: torch.device) -> Prepared:
    """A step of Long-MS-Diff, for `computed` and `measured`; a training's has what is kept of each weight."""
    denoiser, detector, settings = networks(config, device)
    kept = [*denoiser.parameters(), *detector.parameters(), *(state(denoiser) if step is train_step else [])]

    def run() -> None:
        step(denoiser, detector, settings, rows, side)
        denoiser.zero_grad(set_to_none=True)

    return kept, run


def networks(config: dict[str, Any], device: torch.device) -> tuple[Denoiser, nn.Module, dict[str, Any]]:
    """Denoiser, auxiliary detector, and the generator's section of the config."""
    settings = config["synthesis"]["long_ms_diff"]
    detector = config["synthesis"]["auxiliary"]["detector"]
    denoiser = _on(Denoiser(check(LongMSDiffSettings, chosen(settings))), device)
    frozen = _on(build(detector["architecture"], detector["network"]), device).eval().requires_grad_(False)
    return denoiser, frozen, settings


def state(denoiser: nn.Module) -> list[Tensor]:
    """AdamW's two moments and the average of the weights."""
    return [torch.empty_like(parameter) for parameter in denoiser.parameters() for _ in range(3)]


class Alive(TorchDispatchMode):
    """Adds up the bytes of all storages that operators return, for as long as they live."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self.seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()
        self.bytes = self.peak = 0
        for tensor in tensors:
            self.note(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and note what it returns."""
        returned = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self.note, returned)
        return returned

    def note(self, tensor: Tensor) -> None:
        """Count a tensor's storage once, and until it is gone."""
        storage = tensor.untyped_storage()
        if storage not in self.seen:
            self.seen.add(storage)
            self.bytes += storage.nbytes()
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self.forget, storage.nbytes())

    def forget(self, size: int) -> None:
        """A storage is gone."""
        self.bytes -= size


def _on(module: Any, device: torch.device) -> Any:
    """The module with new parameters in channels-last; tensors without numbers cannot be moved."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            layout = torch.channels_last if parameter.ndim == 4 else torch.contiguous_format
            fresh = torch.empty(parameter.shape, device=device, memory_format=layout)
            setattr(part, name, nn.Parameter(nn.init.normal_(fresh, 0, 0.02) if device.type == "cuda" else fresh))
        for name, buffer in list(part.named_buffers(recurse=False)):
            part.register_buffer(name, buffer.to(device) if device.type == "cuda" else buffer)
    return module


def _bf16(device: torch.device) -> Any:
    return torch.autocast(device.type, dtype=torch.bfloat16)


@contextmanager
def single_precision_normalisation() -> Iterator[None]:
    """CUDA's autocast runs group normalisation in single precision, that of the CPU does not."""
    forward = nn.GroupNorm.forward
    nn.GroupNorm.forward = lambda self, x: forward(self, x.float())  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.GroupNorm.forward = forward  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
