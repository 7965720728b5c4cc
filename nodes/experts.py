"""One motion for models in two halves."""

from __future__ import annotations

from comfy_api.latest import io

from ..motion_embedding.experts import join_experts
from .common import CATEGORY, Motion


class JoinExperts(io.ComfyNode):
    """Puts the motions of Wan 2.2's two experts into one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_JoinExperts",
            display_name="Join Experts",
            category=CATEGORY,
            description="Makes one motion, and one file, of what was learnt on the two models of Wan 2.2 14B.",
            inputs=[
                Motion.Input("high_noise", tooltip="Learnt on the high-noise model. Its debias holds for both."),
                Motion.Input("low_noise", tooltip="Learnt on the low-noise model, from the same clip."),
                io.Float.Input(
                    "boundary",
                    default=0.875,
                    min=0.01,
                    max=0.99,
                    step=0.005,
                    round=False,
                    tooltip="The noise level at which the second model takes over: 0.875 for text to video, 0.9 for "
                    "image to video.",
                ),
            ],
            outputs=[Motion.Output(display_name="motion", tooltip="For both models; the inputs stay as they are.")],
        )

    @classmethod
    def execute(cls, high_noise, low_noise, boundary) -> io.NodeOutput:
        return io.NodeOutput(join_experts(high_noise, low_noise, boundary))


NODES = [JoinExperts]
