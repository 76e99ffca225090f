"""Time of a step shared among processes, by our one message after the step over torch's DistributedDataParallel.

    python benchmarks/processes.py [--processes 2] [--batch 8] [--repeats 10] [--threads 2]

Both go forward and backward through the same network on the same shares of a batch (64 x 64) and add up the gradients,
by turns in one run, so that the ratio does not depend on what else the machine does; one process per accelerator, or on
the CPU. Prints the median time of each, the ratio (below 1: ours is faster) and the relative difference of the
gradients. DistributedDataParallel cannot serve the training itself: it wants every parameter used by every process, or
searches for those that are not, and keeps running means of one process only.
"""

import argparse
import copy
import statistics
import time

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from msdiff import processes
from msdiff.networks.conditional_unet import ConditionalUNet, ConditionalUNetSettings
from msdiff.settings import check
from msdiff.training import processor

NETWORK = {
    "in_channels": 6,
    "out_channels": 1,
    "channels": [16, 32, 64, 64],
    "residual_blocks": 1,
    "attention": [False, False, False, True],
    "head_channels": 32,
    "norm_groups": 16,
}


def main() -> None:
    """Start the processes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    processes.in_processes(compare, arguments, arguments.processes)


def compare(arguments: argparse.Namespace) -> None:
    """In each process: time both; the first prints."""
    device = processor(arguments.threads)
    torch.manual_seed(0)
    network = ConditionalUNet(check(ConditionalUNetSettings, NETWORK)).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = arguments.batch // processes.size()
    nn.init.normal_(network.unet.out[-1].conv.weight, std=0.02)
    torch.manual_seed(1 + processes.rank())
    z, condition = torch.randn(size, 1, 64, 64, device=device), torch.randn(size, 5, 64, 64, device=device)
    wrapped = DistributedDataParallel(copy.deepcopy(network))

    def ours() -> Tensor:
        run(network, z, condition, processes.size())
        processes.highest([int(parameter.grad is not None) for parameter in network.parameters()])
        processes.add_up([parameter.grad for parameter in network.parameters() if parameter.grad is not None])
        return gradients(network)

    def theirs() -> Tensor:
        # Theirs divides by the number of processes itself.
        run(wrapped, z, condition, 1)
        return gradients(wrapped)

    difference = (ours() - theirs()).norm() / theirs().norm()
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(arguments.repeats):
        for name, step in (("ours", ours), ("theirs", theirs)):
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    if processes.rank() == 0:
        count = sum(parameter.numel() for parameter in network.parameters())
        print(f"{processes.size()} processes on {device.type}, batch of {arguments.batch}, {count} parameters")
        for name, value in seconds.items():
            print(f"{name:6s} {value:7.4f} s")
        print(f"ratio  {seconds['ours'] / seconds['theirs']:7.3f}")
        print(f"relative difference of the gradients {float(difference):.2g}")


def run(network: nn.Module, z: Tensor, condition: Tensor, shares: int) -> None:
    """Forward and backward."""
    network.zero_grad(set_to_none=True)
    logsnr = torch.zeros(len(z), device=z.device)
    ((network(z, logsnr, condition) - z).square().mean() / shares).backward()


def gradients(network: nn.Module) -> Tensor:
    """All of them, on the CPU: an accelerator is waited for."""
    found = [parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None]
    return torch.cat(found).cpu()


if __name__ == "__main__":
    main()
