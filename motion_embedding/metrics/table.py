"""Scores of one result, in words."""

from __future__ import annotations

from collections.abc import Mapping

FEW_TRACKS = 8


def as_table(scores: Mapping[str, float | None]) -> str:
    """What :func:`.transfer.measure` returned, as lines of plain text, each number with what it is held against."""
    fidelity, ceiling = scores["motion_fidelity"], scores["motion_fidelity_ceiling"]
    # The higher one: where either kind of chance does as well, the score says nothing.
    chance = max(scores["motion_fidelity_chance"], scores["motion_fidelity_chance_turned"])
    lines = [f"motion fidelity  {fidelity:.2f}   (by chance {chance:.2f}, the reference itself {ceiling:.2f})"]
    if ceiling > chance:
        way = (fidelity - chance) / (ceiling - chance)
        lines.append(f"  {max(way, 0):.0%} of the way from chance to the reference itself")
    lines.append(
        f"  points followed: {scores['tracks_reference']} in the reference, {scores['tracks_result']} in the result"
    )
    if min(scores["tracks_reference"], scores["tracks_result"]) < FEW_TRACKS:
        lines.append("  few points could be followed: look at the picture before trusting this score")
    lines.append(_camera(scores))
    for key, meaning in (
        ("text_similarity", "cosine of frames and prompt; compare with the same CLIP and prompt only"),
        ("temporal_consistency", "cosine of neighbouring frames; a still picture has 1"),
        ("appearance_leakage", "how much more like the reference than unrelated pictures are; 0 is none"),
    ):
        if scores[key] is not None:
            lines.append(f"{key.replace('_', ' ')}  {scores[key]:.4f}   ({meaning})")
    return "\n".join(lines)


def _camera(scores: Mapping[str, float | None]) -> str:
    pan, zoom, roll = (scores[f"camera_{part}_error"] for part in ("pan", "zoom", "roll"))
    if pan is None:
        return "camera  cannot be told: too few points of the background could be followed"
    return f"camera error per step  pan {pan:.2f} % of the diagonal, zoom {zoom:.2f} %, roll {roll:.2f} degrees"
