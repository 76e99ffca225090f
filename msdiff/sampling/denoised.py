"""Sampling from a trained network: its objective, its precision, guidance, batches of one size, and compilation.

A system adds what is its own: the conditions that its network takes, and what a sampled image stands for.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from msdiff.diffusion.guidance import guided_denoiser
from msdiff.diffusion.objective import Objective
from msdiff.diffusion.sampler import SamplerSettings, Watch, load_sampler, moved, noise_like, sample
from msdiff.networks.batches import batch_size, in_batches
from msdiff.networks.compiled import Call, When, compiled_for_sampling
from msdiff.networks.layout import on


class Denoised:
    """A network from z (B, C, ...), logsnr (B,) and conditions (B, ...) each to its raw output, ready to sample from.

    Parameters
    ----------
    network
        In evaluation mode when it is sampled from; is moved to the device.
    precision
        As the network was trained: "bf16" is used on an accelerator, and "fp32" on any CPU.
    cpu_batch
        Rows of all batches on a CPU, so that a sample has the same bits in any batch.
    compile_when
        The network is compiled, if at all, at the first call, for batches of that size.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        device: torch.device,
        *,
        precision: str,
        cpu_batch: int,
        compile_when: When = "never",
    ) -> None:
        self.network = on(network, device)
        self.objective = objective
        self.device = device
        self.bf16 = precision == "bf16" and device.type == "cuda"
        self.size = batch_size(device, cpu_batch)
        self.compile_when = compile_when
        self.compiled: Call | None = None

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Without gradients, in the precision of the network."""
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.bf16), torch.no_grad():
            yield

    def in_batches(self, function: Call, *inputs: Tensor) -> Tensor:
        """function(*inputs) (B, ...) in the network's batches, for what of the conditions is computed once."""
        return in_batches(function, self.size or len(inputs[0]), *inputs)

    def estimate(self, z: Tensor, logsnr: Tensor, *conditions: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """x_hat (B, C, ...), and the fraction of the variance if it is learned."""
        output = self.in_batches(self.compiled or self.network, z, logsnr.to(z), *conditions)
        _, x_hat, fraction = self.objective.answer(output, z, logsnr)
        return x_hat if fraction is None else (x_hat, fraction)

    def __call__(
        self,
        shape: Sequence[int],
        seeds: Sequence[int],
        settings: SamplerSettings,
        known: Sequence[Tensor],
        unknown: Sequence[Tensor],
        watch: Watch | None = None,
    ) -> Tensor:
        """Samples (B, *shape), one for each seed, on the device, where they may not be finished yet: `.cpu()` waits.

        A sample depends on its own conditions and seed only; bit for bit on a CPU, within rounding on an accelerator.

        Parameters
        ----------
        known, unknown
            Conditions (B, ...) of the network, on the device, and what stands for them in the unconditional answer.
        watch
            See msdiff.diffusion.sampler.sample.
        """
        noise = moved(noise_like(shape, seeds), self.device)
        with self.computing():
            if self.compile_when != "never":
                self._compile(noise, known, answers=1 if settings.guidance_weight == 0 else 2)
            return sample(
                guided_denoiser(self.estimate, known, unknown, settings.guidance_weight),
                noise,
                self.objective.schedule,
                load_sampler(settings.sampler, settings.steps),
                seeds,
                watch,
            )

    def _compile(self, noise: Tensor, known: Sequence[Tensor], answers: int) -> None:
        """Compile the network for batches of this size, once for every answer; if that fails it stays as it is."""
        when, self.compile_when = self.compile_when, "never"
        logsnr = torch.zeros(len(noise), device=self.device)
        inputs = [torch.cat([tensor] * answers) for tensor in (noise, logsnr, *known)]
        self.compiled = compiled_for_sampling(self.network, when, self.size, *inputs)
