"""A training step as the paper describes it, written plainly, to measure ours against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from motion_embedding.backbones import TemporalAttention

from .step_networks import Network

RATE = 0.02


class Plain:
    """A query-key row per frame ``[1, F, C]`` a layer and values ``[h w, F, C]`` an attention, repeated over the input.

    The text is encoded in every step, AdamW takes many passes, and the weights are kept in float32 and cast where the
    network computes in less: those of ``network`` stay so.

    everywhere: whether every level (a block of a transformer) runs again in ``backward``; else none does.
    """

    def __init__(self, network: Network, layers: str, everywhere: bool, encode: Callable[[], torch.Tensor]) -> None:
        self.network, self.encode, self.everywhere = network, encode, everywhere
        self.chosen: list[TemporalAttention] = network.family[0].select(network.family[1], layers)
        self.rows: dict[str, nn.Parameter] = {}
        self.values: dict[str, nn.Parameter] = {}
        with ExitStack() as held, torch.no_grad():
            for site in self.chosen:
                held.callback(site.value.register_forward_pre_hook(self._size(site)).remove)
            network.run(network.noise(), network.prompt())
        parameters = [*self.rows.values(), *self.values.values()]
        self.optimiser = torch.optim.AdamW(parameters, RATE, foreach=False, fused=False)
        computes = network.dtype in (torch.float16, torch.bfloat16)
        self.lower = torch.autocast(network.device.type, network.dtype, enabled=computes)
        self.scaler = torch.amp.GradScaler(network.device.type, enabled=network.dtype == torch.float16)
        if computes:
            for module in network.modules:
                module.float()

    @property
    def resting(self) -> int:
        """Bytes of the motion, its moments and its gradients between steps."""
        return 16 * sum(p.numel() for p in (*self.rows.values(), *self.values.values()))

    def _size(self, site: TemporalAttention) -> Callable:
        def hook(module: nn.Module, inputs: tuple) -> None:
            positions, frames, channels = inputs[0].shape
            if frames != self.network.call.frames:  # a transformer's tokens of all frames
                positions, frames = 1, frames
            made = {"device": self.network.device}
            self.rows.setdefault(site.layer, nn.Parameter(torch.zeros(1, frames, channels, **made)))
            self.values[site.layer + site.name] = nn.Parameter(torch.zeros(positions, frames, channels, **made))

        return hook

    @contextmanager
    def installed(self) -> Iterator[None]:
        def adding(parameter: nn.Parameter) -> Callable:
            def hook(module: nn.Module, inputs: tuple) -> tuple[Any, ...]:
                x = inputs[0]
                return (x + parameter.repeat(x.shape[0] // parameter.shape[0], 1, 1), *inputs[1:])

            return hook

        with ExitStack() as held:
            for site in self.chosen:
                for projection in (site.query, site.key):
                    held.callback(projection.register_forward_pre_hook(adding(self.rows[site.layer])).remove)
                value = self.values[site.layer + site.name]
                held.callback(site.value.register_forward_pre_hook(adding(value)).remove)
            yield

    @contextmanager
    def again(self) -> Iterator[None]:
        blocks = levels(self.network.module) if self.everywhere else []
        for block in blocks:
            run = block.forward
            block.forward = lambda *args, run=run, **kwargs: checkpoint(run, *args, use_reentrant=False, **kwargs)
        try:
            yield
        finally:
            for block in blocks:
                del block.__dict__["forward"]

    def step(self) -> float:
        noise, text = self.network.noise(), self.encode()
        with self.installed():
            with self.again(), self.lower:
                prediction = self.network.run(noise, text)
            loss = (prediction.float() - noise.float()).square().mean()
            self.optimiser.zero_grad()
            self.scaler.scale(loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return loss.item()


def levels(network: nn.Module) -> list[nn.Module]:
    """Of a UNet, or the blocks of a transformer."""
    if hasattr(network, "down_blocks"):
        return [*network.down_blocks, network.mid_block, *network.up_blocks]
    if hasattr(network, "input_blocks"):
        sides = [*network.input_blocks, network.middle_block, *network.output_blocks]
        return [layer for block in sides for layer in block]
    return list(network.blocks)
