"""An embedding in the making: parameters, float32 by default, zero at first, sized by the model's real activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from .applied import query_key_rows, value_rows
from .backbones import Call, TemporalAttention
from .debias import Debias
from .embedding import LayerEmbedding, MotionEmbedding
from .errors import InputError
from .install import Projection
from .learnt_factors import product, rank_of, start
from .spatial import DEGREES, expand, project


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


class TrainableMotion:
    """A :class:`~motion_embedding.install.Source` whose rows are learnt.

    Its first call of the model, the probe, adds nothing and notes the grid of every chosen attention; after
    :meth:`allocate` the parameters exist.

    value_form: ``full`` learns the values of every position; the polynomials of ``spatial.DEGREES`` learn a few
        coefficients ``[K, F, C]`` instead, and the values follow from them; ``low rank 16`` learns factors of that
        rank, the positions' in ``value`` and the channels' in ``channels``.
    """

    settled = False
    whole = False

    def __init__(self, attentions: Sequence[TemporalAttention] = (), value_form: str = "full") -> None:
        self.rank = rank_of(value_form)
        self.degree = None if value_form == "full" or self.rank else DEGREES[value_form]
        self.choose(attentions)
        self.grids: dict[tuple[str, str], tuple[int, int]] = {}
        self.query_key: dict[str, nn.Parameter] = {}
        self.value: dict[tuple[str, str], nn.Parameter] = {}
        self.channels: dict[tuple[str, str], nn.Parameter] = {}
        self.call: Call | None = None

    def choose(self, attentions: Sequence[TemporalAttention]) -> None:
        """Learn on these; before the probe."""
        self.chosen = {(a.layer, a.name): a for a in attentions}

    def addition(
        self,
        site: TemporalAttention,
        projection: Projection,
        grid: tuple[int, int],
        call: Call,
        device: torch.device | None = None,
    ) -> torch.Tensor | None:
        key = (site.layer, site.name)
        if key not in self.chosen:
            return None
        if not self.query_key:
            self.grids[key], self.call = grid, call
            return None
        if projection == "query_key":
            return self.query_key[site.layer][None, None]
        return self._values(key).flatten(0, 1)[None]

    def allocate(
        self, device: torch.device, initial: MotionEmbedding | None = None, dtype: torch.dtype = torch.float32
    ) -> list[nn.Parameter]:
        """Make the parameters, zero or from ``initial`` (resampled to this clip), and return them.

        dtype: of the parameters; float32 whatever the model is in, unless float64 is wanted of a float64 model.
        """
        if self.call is not None and self.call.window is not None:
            raise InputError(
                "model",
                "its context windows cut the clip up, and a motion is learnt on a whole clip.",
                "Take the context options off while training, and use no more frames than the motion model takes.",
            )
        if missed := sorted({layer for layer, _ in self.chosen.keys() - self.grids.keys()}):
            raise InputError(
                "layers", f"the model never reached {', '.join(missed)}.", "Choose a preset or pattern without them."
            )
        plain = initial.replace(debias=Debias()) if initial else None
        for (layer, name), (height, width) in self.grids.items():
            frames, channels = self.call.frames, self.chosen[layer, name].width
            query_key, value = torch.zeros(frames, channels), torch.zeros(height, width, frames, channels)
            if plain is not None and layer in plain.layers:
                query_key = query_key_rows(plain, layer, frames)
                learnt = value_rows(plain, layer, name, frames, height, width)
                value = value if learnt is None else learnt
            if layer not in self.query_key:
                self.query_key[layer] = nn.Parameter(query_key.to(device, dtype, copy=True))
            learnable = value if self.degree is None else project(value, self.degree)
            if self.rank:
                factors = start(value, self.rank)
                learnable = factors.positions
                self.channels[layer, name] = nn.Parameter(factors.channels.to(device, dtype, copy=True))
            self.value[layer, name] = nn.Parameter(learnable.to(device, dtype, copy=True))
        return self.parameters()

    def _values(self, key: tuple[str, str], part: Callable[[torch.Tensor], torch.Tensor] = _same) -> torch.Tensor:
        """``[h, w, F, C]``; ``part`` is done to all that they are made of."""
        value = part(self.value[key])
        if self.rank:
            return product(value, part(self.channels[key]))
        return value if self.degree is None else expand(value, *self.grids[key], self.degree)

    def parameters(self) -> list[nn.Parameter]:
        return [*self.query_key.values(), *self.value.values(), *self.channels.values()]

    def groups(self, rate: float, query_key_rate: float) -> list[dict[str, Any]]:
        """The parameters as an optimiser takes them: the values' at ``rate``, the query-key rows' at so much more."""
        values = [*self.value.values(), *self.channels.values()]
        return [
            {"params": [*self.query_key.values()], "lr": rate * query_key_rate},
            {"params": values, "lr": rate},
        ]

    def layers(self) -> dict[str, LayerEmbedding]:
        """What is learnt so far, copied off the device in float32; nothing is made on the device for it."""

        def copied(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.detach().to("cpu", torch.float32, copy=True)

        return {
            layer: LayerEmbedding(
                copied(query_key), {n: self._values((of, n), copied) for of, n in self.value if of == layer}
            )
            for layer, query_key in self.query_key.items()
        }
