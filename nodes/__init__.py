"""The pack's nodes: one thin file per group, each listing its classes in ``NODES``."""

from __future__ import annotations

from comfy_api.latest import io


def all_nodes() -> list[type[io.ComfyNode]]:
    from . import embedding, model, training, video

    return [*video.NODES, *model.NODES, *training.NODES, *embedding.NODES]
