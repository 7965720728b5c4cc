"""CompareVideos: a reference and results side by side, in sync."""

from __future__ import annotations

from fractions import Fraction

import comfy.model_management
import comfy.utils
import numpy as np
import torch
from comfy_api.input_impl import VideoFromComponents
from comfy_api.latest import io
from comfy_api.util import VideoComponents

from ..motion_embedding.errors import InputError
from ..motion_embedding.metrics.compared import compared, laid_over
from ..motion_embedding.metrics.tracks import track_points
from .common import CATEGORY
from .showing import clip_pixels, shown_video

OFF, OF_REFERENCE, OWN = TRACKS = ("off", "reference's", "each its own")


class CompareVideos(io.ComfyNode):
    """One video of several clips."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_CompareVideos",
            display_name="Compare Videos",
            category=CATEGORY,
            description="Lays a reference and up to four results side by side, in sync, as one video; with the points "
            "that move in them, if wanted.",
            is_output_node=True,
            inputs=[
                io.Image.Input(
                    "reference", tooltip="Frames of the clip to compare with, in order. It sets how long all last."
                ),
                io.Image.Input(
                    "result_1",
                    tooltip="Frames of a clip, in order. Its size and length may differ: it is made as high as the "
                    "others and as long as the reference, by the nearest frames.",
                ),
                *(
                    io.Image.Input(f"result_{number}", optional=True, tooltip="One more clip to stand beside them.")
                    for number in (2, 3, 4)
                ),
                io.Float.Input(
                    "fps",
                    default=8.0,
                    min=0.1,
                    max=240.0,
                    step=0.01,
                    tooltip="Frames per second of the reference, and so of the video.",
                ),
                io.String.Input(
                    "labels",
                    default="",
                    tooltip="What to write over the clips, separated by commas, the reference first: one for each "
                    "clip. Empty: reference, result 1, and so on.",
                ),
                io.Combo.Input(
                    "tracks",
                    options=list(TRACKS),
                    default=OFF,
                    tooltip="Trails of points in the clips, coloured by direction. reference's: its trails over all "
                    "clips, to see whether they are followed. each its own: those found in each.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The clips side by side, frame by frame."),
                io.Video.Output(display_name="video", tooltip="The same as a video, for Save Video."),
            ],
        )

    @classmethod
    def execute(
        cls, reference, result_1, fps, labels="", tracks=OFF, result_2=None, result_3=None, result_4=None
    ) -> io.NodeOutput:
        wired = {"reference": reference, "result_1": result_1}
        wired |= {"result_2": result_2, "result_3": result_3, "result_4": result_4}
        wired = {name: images for name, images in wired.items() if images is not None}
        titles = _titles(labels, list(wired))
        clips = [clip_pixels(name, images) for name, images in wired.items()]
        drawn = compared(clips, titles, _tracks(tracks, clips))
        picture = torch.from_numpy(drawn.astype(np.float32) / 255)
        components = VideoComponents(images=picture, audio=None, frame_rate=Fraction(fps).limit_denominator(1001))
        return io.NodeOutput(picture, VideoFromComponents(components), ui=shown_video(picture, fps, "compare"))


def _titles(labels: str, names: list[str]) -> list[str]:
    """One for each clip; that of an empty label is the input's name."""
    usual = [name.replace("_", " ") for name in names]
    if not labels.strip():
        return usual
    given = [label.strip() for label in labels.split(",")]
    if len(given) != len(names):
        raise InputError(
            "labels",
            f"there are {len(given)} for {len(names)} clips.",
            "Give one for each, the reference first, separated by commas; or none.",
        )
    return [label or name for label, name in zip(given, usual, strict=True)]


def _tracks(choice: str, clips: list[np.ndarray]) -> list[np.ndarray] | None:
    """Tracks for each clip, in its pixels."""
    if choice == OFF:
        return None
    followed = clips if choice == OWN else clips[:1]
    progress, found = comfy.utils.ProgressBar(len(followed)), []
    for clip in followed:
        comfy.model_management.throw_exception_if_processing_interrupted()
        found.append(track_points(clip))
        progress.update(1)
    return found if choice == OWN else [laid_over(found[0], clips[0].shape[2:0:-1], clip) for clip in clips]


NODES = [CompareVideos]
