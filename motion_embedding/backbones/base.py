"""What the rest of the pack asks of a model family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch
from einops import rearrange
from torch import nn

from ..errors import InputError

POSITIVE = 0


@dataclass(frozen=True)
class Call:
    """One call of the model: how its batch and its latent clip are laid out.

    groups: for each equal part of the batch, 0 for the positive and 1 for the negative prompt.
    frames, height, width: of the latent clip in this call.
    batch: how many clips the call holds.
    window: where a context window is open, the frame of the whole clip that each frame of this call is.
    total: frames of the whole clip, None without a window.
    corners: where the prompts are for areas of the picture, (y, x) of each group's; height and width are then theirs.
    picture: height and width of the whole latent, None without areas.
    leading: tokens in front of the clip's that are not of it, in families whose attention sees all at once.
    """

    frames: int
    height: int
    width: int
    groups: tuple[int, ...] = (POSITIVE,)
    batch: int = 1
    window: tuple[int, ...] | None = None
    total: int | None = None
    corners: tuple[tuple[int, int], ...] | None = None
    picture: tuple[int, int] | None = None
    leading: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole latent."""
        return self.picture or (self.height, self.width)

    @property
    def length(self) -> int:
        """Frames of the whole clip."""
        return self.total or self.frames

    def within(self, window: Sequence[int], total: int) -> Call:
        """The same call as the part ``window`` of a clip of ``total`` frames."""
        return replace(self, window=tuple(window), total=total)

    def at(self, corners: Sequence[tuple[int, int]], picture: tuple[int, int]) -> Call:
        """The same call as areas of a latent of height and width ``picture``."""
        return replace(self, corners=tuple(corners), picture=tuple(picture))


@dataclass(frozen=True, eq=False)
class TemporalAttention:
    """One self-attention that mixes frames: the projections an embedding is added in front of.

    layer: name of its transformer block, the same for every model of the family; shares one query-key embedding.
    name: of the attention inside the block.
    home: the module the projections lie in, where that comes and goes with each sampling; None for the model itself.
    parts: where one module gives query, key and value at once: which of its outputs are the first two, and the third.
    """

    layer: str
    name: str
    query: nn.Module
    key: nn.Module
    value: nn.Module
    home: nn.Module | None = None
    parts: tuple[slice, slice] | None = None

    @property
    def width(self) -> int:
        return self.query.in_features


class Backbone(ABC):
    """A model family. Stateless; one instance serves every model.

    family, title: its name in files, and for people.
    comes_and_goes: whether the temporal attentions are part of the model only while it samples. They are then looked
        up in every call, so :meth:`attentions` must be quick.
    frames_each: how many frames of video each latent frame but the first stands for.
    in_place: whether its blocks add to what they were given in place, see ``checkpointing``.
    bearable_error: how far off values may be in a file, as measured; small where nobody did, see ``compact``.
    """

    family: str
    title: str
    presets: dict[str, Callable[[Sequence[TemporalAttention]], list[TemporalAttention]]]
    comes_and_goes: bool = False
    frames_each: int = 1
    in_place: bool = False
    bearable_error: float = 0.1

    @abstractmethod
    def attentions(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[TemporalAttention]:
        """Every attention of ``model`` that mixes frames, in order of use; empty when it is not of this family.

        beside: modules that run with the model without being in its tree.
        """

    def may_become(self, model: nn.Module) -> bool:
        """Whether ``model``, without attentions now, can be of this family once it samples."""
        return False

    @abstractmethod
    def call(
        self, x: torch.Tensor, groups: Sequence[int], name: str = "latent_image", frames: int | None = None
    ) -> Call:
        """Reads the layout off a latent. Raises :class:`InputError` about the input ``name`` when it is no video.

        frames: of one clip, where the host says so; families with frames on the batch axis else take all there are.
        """

    def extended(self, call: Call, model: nn.Module, conditioning: Mapping[str, object]) -> Call:
        """``call`` with what else ``model`` is given: tokens and frames among its own that are not the clip's.

        conditioning: the named arguments of the host's ``apply_model`` beyond its first six.
        """
        return call

    def video(self, x: torch.Tensor, call: Call) -> torch.Tensor:
        """A latent of this family as ``[B, C, F, h, w]``."""
        return x

    def latent(self, video: torch.Tensor) -> torch.Tensor:
        """``video [B, C, F, h, w]`` as a latent of this family."""
        return video

    def check_conditioning(self, model: nn.Module, positive: list, latents: torch.Tensor, call: Call) -> str | None:
        """Raise :class:`InputError` about ``positive`` unless ``model`` can be trained on the clip with it.

        Returns what else the person should know of it.
        """
        return None

    @abstractmethod
    def grid(self, x: torch.Tensor, call: Call) -> tuple[int, int]:
        """Height and width of the positions in ``x``, the input of a projection."""

    @abstractmethod
    def add(self, x: torch.Tensor, addition: torch.Tensor, call: Call) -> torch.Tensor:
        """``x`` with ``addition [G, P, F, C]`` on its tokens; G is 1 or the number of groups, P is 1 or positions."""

    def blocks(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[nn.Module]:
        """The modules, in order of use, that training may run again in ``backward`` instead of keeping all they did.

        None lies in another, and together they hold every temporal attention. beside: as in :meth:`attentions`.
        """
        return []

    def spatial_linears(self, model: nn.Module) -> list[nn.Linear]:
        """The projections of the blocks that mix positions within a frame; empty when the family names none.

        They hold the look of a clip. The loss ``debiased_hybrid`` needs them.
        """
        return []

    def select(self, attentions: Sequence[TemporalAttention], choice: str) -> list[TemporalAttention]:
        """The attentions of a preset, or those whose layer matches one of the comma-separated patterns."""
        if choice in self.presets:
            chosen = self.presets[choice](attentions)
        else:
            patterns = [p.strip() for p in choice.split(",") if p.strip()]
            chosen = [a for a in attentions if any(fnmatchcase(a.layer, p) for p in patterns)]
        if not chosen:
            layers = sorted({a.layer for a in attentions})
            raise InputError(
                "layers",
                f"{choice!r} matches no temporal layer of this model.",
                f"Its layers are: {', '.join(layers)}.",
            )
        return chosen


def video_call(x: torch.Tensor, groups: Sequence[int], name: str) -> Call:
    """:meth:`Backbone.call` for latents ``[B, C, F, h, w]``."""
    if x.ndim != 5:
        raise InputError(
            name,
            f"an image latent of shape {tuple(x.shape)} was given to a video model.",
            "Use the empty latent node for its videos, such as EmptyVideoLatent, or VAEEncode with this model's VAE.",
        )
    return Call(frames=x.shape[2], height=x.shape[3], width=x.shape[4], groups=tuple(groups), batch=x.shape[0])


class FramesOnBatch(Backbone):
    """Families whose latents are ``[(B F), C, h, w]``, the frames of one clip after another."""

    def call(
        self, x: torch.Tensor, groups: Sequence[int], name: str = "latent_image", frames: int | None = None
    ) -> Call:
        groups = tuple(groups)
        if x.ndim != 4:
            raise InputError(
                name,
                f"a video latent of shape {tuple(x.shape)} was given to a {self.family} model.",
                "Use EmptyLatentImage with one picture of the batch per frame, or VAEEncode with this model's VAE.",
            )
        frames = frames or x.shape[0] // len(groups)
        if x.shape[0] % (frames * len(groups)):
            raise ValueError(f"a batch of {x.shape[0]} does not hold {len(groups)} groups of clips of {frames} frames")
        return Call(frames, x.shape[-2], x.shape[-1], groups, x.shape[0] // frames)

    def video(self, x: torch.Tensor, call: Call) -> torch.Tensor:
        return rearrange(x, "(b f) c h w -> b c f h w", f=call.frames)

    def latent(self, video: torch.Tensor) -> torch.Tensor:
        return rearrange(video, "b c f h w -> (b f) c h w")


def level_grid(height: int, width: int, level: int) -> tuple[int, int]:
    """The grid of a latent after ``level`` halvings: every one rounds up, as its strided convolution does."""
    return -(-height >> level), -(-width >> level)


def halved_grid(positions: int, height: int, width: int) -> tuple[int, int]:
    """The grid of the UNet level with so many positions.

    A UNet halves both axes, rounding up, so the count names the level without ambiguity.
    """
    for level in range(max(height, width).bit_length() + 1):
        grid = level_grid(height, width, level)
        if grid[0] * grid[1] == positions:
            return grid
    raise ValueError(f"{positions} positions fit no level of a {height}x{width} latent")


def add_position_major(x: torch.Tensor, addition: torch.Tensor, groups: int) -> torch.Tensor:
    """For tokens laid out ``[(B h w), F, C]``, batch outermost. See :meth:`Backbone.add`."""
    g, p = min(groups, addition.shape[0]), addition.shape[1]
    if g == p == 1:
        return x + addition[0]
    return (x.unflatten(0, (g, -1, p)) + addition[:, None]).flatten(0, 2)
