"""A training step as ``motion_embedding.training_loop`` takes it, without the host around it."""

from __future__ import annotations

import torch

from motion_embedding.install import Installation, Prepared
from motion_embedding.optimising import Arriving, adamw, descend

from .plain_step import RATE
from .step_networks import Network


class Ours:
    """checkpointing, free: as ``Checkpoints.choose``; value_form: as ``TrainableMotion``. The text is encoded once."""

    def __init__(
        self, network: Network, layers: str, checkpointing: str, free: int = 0, value_form: str = "full"
    ) -> None:
        self.network, self.prepared, self.prompt = network, Prepared(), network.prompt()
        self.trainable, self.checkpoints = network.to_learn(layers, value_form)
        self.checkpoints.measuring = True
        with torch.no_grad():
            self.predict(network.noise())
        self.checkpoints.measuring = False
        self.kept = self.checkpoints.choose(checkpointing, free)
        self.optimiser = adamw(self.trainable.allocate(network.device), RATE)
        self.scaler = torch.amp.GradScaler(network.device.type, enabled=network.dtype == torch.float16)

    @property
    def resting(self) -> int:
        """Bytes of the motion and its moments."""
        return 12 * sum(p.numel() for p in self.trainable.parameters())

    def predict(self, noisy: torch.Tensor) -> torch.Tensor:
        net = self.network
        motion = Installation(net.module, [self.trainable], net.call, self.prepared, net.family)
        with motion, self.checkpoints.around(lambda: motion):
            return net.run(noisy, self.prompt)

    def step(self) -> float:
        noise = self.network.noise()
        loss = (self.predict(noise).float() - noise.float()).square().mean()
        arriving = Arriving(loss)
        self.scaler.scale(loss).backward()
        value = arriving.get()
        descend(self.optimiser, self.scaler)
        self.scaler.update()
        return value
