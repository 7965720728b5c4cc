"""Motion Embeddings for ComfyUI: learn the motion of one video, put it into new ones (arXiv 2403.20193)."""

from __future__ import annotations

WEB_DIRECTORY = "./js"


async def comfy_entrypoint():
    """Called by ComfyUI when it loads the pack; nothing of the host is imported before."""
    from comfy_api.latest import ComfyExtension

    from .nodes import all_nodes
    from .nodes.routes import register_routes

    register_routes()

    class MotionEmbeddings(ComfyExtension):
        async def get_node_list(self):
            return all_nodes()

    return MotionEmbeddings()
