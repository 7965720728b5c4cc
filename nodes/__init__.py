"""The pack's nodes: one thin file per group, each listing its classes in ``NODES``."""

from __future__ import annotations

from comfy_api.latest import io


def all_nodes() -> list[type[io.ComfyNode]]:
    from . import (
        animatediff,
        comparing,
        embedding,
        experts,
        importing,
        measuring,
        model,
        noise,
        previewing,
        training,
        transform,
        video,
    )

    return [
        *video.NODES,
        *model.NODES,
        *animatediff.NODES,
        *training.NODES,
        *embedding.NODES,
        *importing.NODES,
        *previewing.NODES,
        *transform.NODES,
        *experts.NODES,
        *noise.NODES,
        *measuring.NODES,
        *comparing.NODES,
    ]
