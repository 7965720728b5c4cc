"""At which noise level the model is asked, and whether something acts there, without waiting for the GPU.

The host gives the model its noise level as a tensor on the GPU. To read it is to wait until all that was asked of the
GPU before is done. The levels of a run are read once, before it; many samplers ask once in every step, at the level
where it begins, and then call back. Steps are counted by those calls, not by questions: a cache may answer some itself.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

_log = logging.getLogger(__name__)

_HOST = "comfy.k_diffusion.sampling"
_NAMES = """
    euler euler_ancestral euler_ancestral_RF euler_cfg_pp euler_ancestral_cfg_pp lms ddpm lcm er_sde dpmpp_2m
    dpmpp_2m_cfg_pp dpmpp_2m_sde dpmpp_2m_sde_gpu dpmpp_2m_sde_heun dpmpp_2m_sde_heun_gpu dpmpp_3m_sde dpmpp_3m_sde_gpu
    ipndm ipndm_v deis gradient_estimation gradient_estimation_cfg_pp
    res_multistep res_multistep_cfg_pp res_multistep_ancestral res_multistep_ancestral_cfg_pp
"""
ASKS_ONCE = frozenset(f"sample_{name}" for name in _NAMES.split())
"""The host's samplers that ask the model once in every step, at the level where the step begins."""

_CHURNED = 1.5
"""A sampler that adds noise on the way asks at levels up to the square root of 2 above the first."""
_APART = 1e-3
_misjudged: set[str] = set()


@dataclass(frozen=True)
class Span:
    """The noise levels at which something acts: from ``above`` up to, not including, ``below``; and from ``begin``
    down to, not including, ``end``."""

    above: float
    below: float
    begin: float
    end: float

    def holds(self, level: float) -> bool:
        return self.above <= level < self.below and self.begin >= level > self.end

    def throughout(self, low: float, high: float) -> bool | None:
        """Whether it acts at every level from ``low`` to ``high``, or at none; None for some."""
        if self.holds(low) and self.holds(high):
            return True
        outside = high < self.above or low >= self.below or low > self.begin or high <= self.end
        return False if outside else None


def asks_once(sampler: object) -> str | None:
    """The name of the host's sampler function if it is one of :data:`ASKS_ONCE` and adds no noise on the way."""
    function = getattr(sampler, "sampler_function", None)
    name = getattr(function, "__name__", None)
    own = getattr(function, "__module__", None) == _HOST and name in ASKS_ONCE
    return name if own and not getattr(sampler, "extra_options", {}).get("s_churn") else None


class NoiseNow:
    """Follows a run. Outside of one, every level is read off the tensor."""

    def __init__(self) -> None:
        self._levels: list[float] = []
        self._sampler: str | None = None
        self._steps, self._inside = 0, False
        self._known: float | None = None
        self._foretold: list[tuple[torch.Tensor, float]] = []

    @contextmanager
    def run(self, sigmas: torch.Tensor, sampler: object) -> Iterator[None]:
        """Around a run of ``sampler`` over the levels ``sigmas [steps + 1]``."""
        name = asks_once(sampler)
        # One level is no schedule: a training, which chooses its own.
        self._levels = sigmas.tolist() if len(sigmas) > 1 else []
        self._sampler = None if name in _misjudged else name
        self._steps, self._foretold = 0, []
        try:
            yield
            self._check()
        finally:
            self._levels, self._sampler, self._foretold = [], None, []

    @contextmanager
    def prediction(self) -> Iterator[None]:
        """Around one question that the sampler asks, however many calls of the model answer it."""
        self._inside, self._known = True, None
        try:
            yield
        finally:
            self._inside = False

    def counting(self, callback: Callable[..., None] | None) -> Callable[..., None]:
        """``callback`` of a sampler, which it calls at the end of every step; the steps are counted there."""

        def counted(*args: object, **kwargs: object) -> None:
            self._steps += 1
            if callback is not None:
                callback(*args, **kwargs)

        return counted

    def bounds(self) -> tuple[float, float]:
        """The levels between which all those of the run lie."""
        if not self._levels:
            return 0.0, sys.float_info.max
        return min(self._levels), max(self._levels) * _CHURNED

    def level(self, sigma: torch.Tensor) -> float:
        """The level of this call, which was given as ``sigma``."""
        if not self._inside:
            return float(sigma.max())
        if self._known is None:
            self._known = self._foreseen(sigma) or float(sigma.max())
        return self._known

    def _foreseen(self, sigma: torch.Tensor) -> float | None:
        if self._sampler is None or self._steps >= len(self._levels):
            return None
        level = self._levels[self._steps]
        self._foretold.append((sigma.max(), level))
        return level

    def _check(self) -> None:
        """Whether what was foreseen came: looked at when the run is over, and the GPU has done it all anyway."""
        if not self._foretold:
            return
        asked, foretold = zip(*self._foretold, strict=True)
        asked = torch.stack(asked).double().cpu()
        if (asked - torch.tensor(foretold, dtype=torch.float64)).abs().max() > _APART * max(self._levels):
            _misjudged.add(self._sampler)
            _log.warning(
                "%s asked the model at noise levels not foreseen: a motion with a start or an end may have acted "
                "in other steps. Run it again; from now on the levels are read.",
                self._sampler,
            )
