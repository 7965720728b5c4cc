"""MeasureMotionTransfer: how well a result carries the motion of a reference, and how much of its look."""

from __future__ import annotations

import json

import comfy.model_management
import comfy.utils
import folder_paths
import torch
from comfy_api.latest import io

from ..motion_embedding.errors import InputError
from ..motion_embedding.metrics.host_encoder import HostEncoder
from ..motion_embedding.metrics.picture import side_by_side
from ..motion_embedding.metrics.table import as_table
from ..motion_embedding.metrics.tracks import track_points
from ..motion_embedding.metrics.transfer import Evidence, gather, measure
from ..motion_embedding.node_text import tell
from .common import CATEGORY, file_names, register_folder
from .showing import clip_pixels, shown_video

TRACKERS = "cotracker"
LUCAS_KANADE = "lucas-kanade"
_PREVIEW_FPS = 8.0

register_folder(TRACKERS, {".pth", ".pt"})


class MeasureMotionTransfer(io.ComfyNode):
    """The field's metrics on one pair of clips."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_MeasureMotionTransfer",
            display_name="Measure Motion Transfer",
            category=CATEGORY,
            description="Scores how well a result carries the motion of a reference, and how much of its look came "
            "along. Needs only the frames; with CLIP and CLIP Vision it also says how well the result fits its prompt.",
            is_output_node=True,
            inputs=[
                io.Image.Input("reference", tooltip="Frames of the clip that the motion was taken from, in order."),
                io.Image.Input("result", tooltip="Frames of the new clip, in order. Its size and length may differ."),
                io.Combo.Input(
                    "tracker",
                    options=[LUCAS_KANADE, *file_names(TRACKERS)],
                    default=LUCAS_KANADE,
                    tooltip="Who follows the points. lucas-kanade: OpenCV's, built in. Or a CoTracker3 checkpoint in "
                    "models/cotracker, with your own installation of cotracker (licence: non-commercial use only). "
                    "Compare only scores of the same tracker.",
                ),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    tooltip="What the result was to show, for the text similarity. Needs clip and clip_vision.",
                ),
                io.Image.Input(
                    "unrelated",
                    optional=True,
                    tooltip="Frames of a clip that has nothing to do with the result: the level of chance and of "
                    "likeness in look. Without it, chance is the reference's own motion turned and reversed, and "
                    "leakage is not said.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="From Load CLIP Vision, for consistency, leakage and, with clip, text similarity.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="From Load CLIP: the text half of the same CLIP (clip_l with CLIP ViT-L). Not the text "
                    "encoder of a video model.",
                ),
            ],
            outputs=[
                io.Float.Output(display_name="motion_fidelity", tooltip="1 is the reference itself; see the table."),
                io.String.Output(display_name="table", tooltip="All scores in words."),
                io.String.Output(
                    display_name="json", tooltip="All scores, for a program; null where one cannot be said."
                ),
                io.Image.Output(
                    display_name="tracks",
                    tooltip="Both clips side by side with the followed points; equal colours are equal directions.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, reference, result, tracker, prompt="", unrelated=None, clip_vision=None, clip=None
    ) -> io.NodeOutput:
        if clip is not None and clip_vision is None:
            raise InputError("clip", "it is wired without clip_vision.", "Wire Load CLIP Vision of the same CLIP too.")
        clips = {"reference": reference, "result": result, "unrelated": unrelated}
        clips = {name: clip_pixels(name, images) for name, images in clips.items() if images is not None}
        encoder = HostEncoder(clip_vision, clip) if clip_vision is not None else None
        text = encoder.texts([prompt])[0] if clip is not None and prompt.strip() else None
        follow, progress = _tracker(tracker), comfy.utils.ProgressBar(len(clips))
        seen: dict[str, Evidence] = {}
        for name, frames in clips.items():
            comfy.model_management.throw_exception_if_processing_interrupted()
            seen[name] = gather(frames, follow, encoder)
            progress.update(1)
        others = [seen["unrelated"]] if "unrelated" in seen else []
        scores = measure(seen["reference"], seen["result"], text, others)
        table = as_table(scores)
        if prompt.strip() and text is None:
            table += "\ntext similarity  not said: it needs clip and clip_vision"
        tell(table)
        drawn = side_by_side(clips["reference"], clips["result"], seen["reference"].tracks, seen["result"].tracks)
        picture = torch.from_numpy(drawn).float() / 255
        return io.NodeOutput(
            scores["motion_fidelity"],
            table,
            json.dumps(scores, indent=2),
            picture,
            ui=shown_video(picture, _PREVIEW_FPS, "motion_tracks"),
        )


def _tracker(name: str):
    if name == LUCAS_KANADE:
        return track_points
    from ..motion_embedding.metrics.cotracker import cotracker

    checkpoint = folder_paths.get_full_path_or_raise(TRACKERS, name)
    return cotracker(checkpoint, device=comfy.model_management.get_torch_device())


NODES = [MeasureMotionTransfer]
