"""PreviewMotion: a motion embedding as a picture."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import io, ui

from ..motion_embedding.metrics.tracks import track_points
from ..motion_embedding.motion_facts import as_text, facts
from ..motion_embedding.motion_picture import motion_picture
from .common import CATEGORY, Motion
from .showing import clip_pixels


class PreviewMotion(io.ComfyNode):
    """Shows what a motion holds, without a model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_PreviewMotion",
            display_name="Preview Motion",
            category=CATEGORY,
            description="Shows what a motion holds, without running a model: what is known of it, in which layers and "
            "frames its energy lies and, with the reference's frames, how they move.",
            is_output_node=True,
            inputs=[
                Motion.Input("motion", tooltip="From Train, Load, or any other node that gives a motion."),
                io.Image.Input(
                    "frames",
                    optional=True,
                    tooltip="Frames of the clip it was learnt from, in order: points in them are followed and drawn "
                    "as arrows.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="picture", tooltip="What the node shows."),
                io.String.Output(display_name="text", tooltip="What is known of the motion, one line each."),
            ],
        )

    @classmethod
    def execute(cls, motion, frames=None) -> io.NodeOutput:
        clip = None if frames is None else clip_pixels("frames", frames)
        drawn = motion_picture(motion, clip, None if clip is None else track_points(clip))
        picture = torch.from_numpy(drawn.astype(np.float32) / 255)[None]
        return io.NodeOutput(picture, as_text(facts(motion)), ui=ui.PreviewImage(picture, cls=cls))


NODES = [PreviewMotion]
