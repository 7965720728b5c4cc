"""The motion embedding: an immutable value (arXiv 2403.20193, section 4; design section 2)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from .debias import Debias
from .thumbnail import Thumbnail


def video_frames(frames: int, each: int) -> int:
    """How many frames of video so many latent frames stand for, every one but the first for ``each``."""
    return 1 + (frames - 1) * each


@dataclass(frozen=True, eq=False)
class LayerEmbedding:
    """What one transformer block learnt.

    query_key: ``[F, C]``, shared by all temporal self-attentions of the block; no spatial axes, so it cannot
        hold appearance.
    value: attention name to ``[h, w, F, C]``; empty for a camera-only embedding.
    """

    query_key: torch.Tensor
    value: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def width(self) -> int:
        return self.query_key.shape[-1]

    def map(self, query_key=lambda t: t, value=lambda t: t) -> LayerEmbedding:
        """A new layer with ``query_key`` and ``value`` applied to the tensors."""
        return LayerEmbedding(query_key(self.query_key), {name: value(t) for name, t in self.value.items()})


@dataclass(frozen=True, eq=False)
class MotionEmbedding:
    """The motion of one clip, as learnt on one kind of model.

    layers: layer name to what it learnt, always the *trained* rows: resampling and debiasing happen when the
        embedding meets a model, in that order.
    backbone: the model family, such as ``unet3d``.
    frames, height, width: the latent clip it was trained on; height and width are 0 in an imported camera motion,
        whose file does not say and to which they do not matter.
    fps: frames per second of that clip, 0 when unknown.
    prediction: the model's own prediction space, see :func:`~.losses.own_target`.
    debias: how values and query-keys are rid of appearance when used.
    training: how it came to be (steps, loss, seed, ...); anything JSON can hold. ``frames_each`` in it: how many frames
        of video each latent frame but the first stands for.
    inverted_noise: ``[C, F, h, w]``, the reference clip inverted to the noise it could have come from; of variance 1
        unless inverted as published. None when it does not travel with the embedding.
    values_error: how far the values are from what was learnt, since they were saved compact: the root mean square of
        the difference as a share of theirs. 0 as learnt.
    boundary: the noise level between the halves of a motion for two models, see ``experts``; 0 for other motions.
    thumbnail: a few small frames of the clip, to know the motion by; None where there are none.
    file_bytes: of the file that it was read from; 0 for one that is in no file as it is.
    """

    layers: Mapping[str, LayerEmbedding]
    backbone: str
    frames: int
    height: int
    width: int
    fps: float = 0.0
    prediction: str = "epsilon"
    debias: Debias = field(default_factory=Debias)
    training: Mapping[str, Any] = field(default_factory=dict)
    inverted_noise: torch.Tensor | None = None
    boundary: float = 0.0
    values_error: float = 0.0
    thumbnail: Thumbnail | None = None
    file_bytes: int = 0

    def __post_init__(self) -> None:
        for name, layer in self.layers.items():
            rows = {tuple(layer.query_key.shape[-2:]), *(tuple(v.shape[-2:]) for v in layer.value.values())}
            if layer.query_key.ndim != 2 or any(v.ndim != 4 for v in layer.value.values()) or len(rows) != 1:
                shapes = [tuple(layer.query_key.shape), *(tuple(v.shape) for v in layer.value.values())]
                raise ValueError(f"layer {name}: expected [F, C] and [h, w, F, C] tensors, got {shapes}")
            if rows.pop()[0] != self.frames:
                raise ValueError(f"layer {name}: holds another number of frames than the embedding ({self.frames})")

    @property
    def fingerprint(self) -> str:
        """Of the layer layout (names and widths): two embeddings with the same one fit the same models."""
        layout = sorted((name, layer.width, sorted(layer.value)) for name, layer in self.layers.items())
        return hashlib.sha256(repr(layout).encode()).hexdigest()[:16]

    @property
    def video_frames(self) -> int:
        """How many frames of video its latent frames stand for."""
        return video_frames(self.frames, self.training.get("frames_each", 1))

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All that was learnt: every layer's query-key rows and values."""
        return [t for layer in self.layers.values() for t in (layer.query_key, *layer.value.values())]

    @property
    def parameters(self) -> int:
        """How many trained numbers it holds."""
        return sum(t.numel() for t in self.tensors)

    def replace(self, **changes: Any) -> MotionEmbedding:
        return dataclasses.replace(self, **{"file_bytes": 0, **changes})

    def describe(self) -> str:
        """One line for a person."""
        video = self.video_frames
        frames = f"{self.frames} frames" if video == self.frames else f"{self.frames} latent frames ({video} of video)"
        size = f"latent {self.width}x{self.height}, " if self.height else ""
        more = "" if self.inverted_noise is None else ", with its clip's inverted noise"
        more += f", compact (values {self.values_error:.0%} off what was learnt)" if self.values_error else ""
        more += f", for two models that change over at {self.boundary:g}" if self.boundary else ""
        return (
            f"{self.backbone}, {len(self.layers)} layers, {frames}, {size}"
            f"{self.parameters / 1e6:.2f} M values, {self.debias.describe()}{more}"
        )
