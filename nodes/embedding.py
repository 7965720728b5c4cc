"""Motion embeddings as things on the graph: apply, debias, save, load."""

from __future__ import annotations

from pathlib import Path

import folder_paths
import torch
from comfy_api.latest import io, ui

from ..motion_embedding import files
from ..motion_embedding.compact import error_of
from ..motion_embedding.debias import QUERY_KEY_STRATEGIES, VALUE_STRATEGIES, Debias
from ..motion_embedding.errors import InputError
from ..motion_embedding.fit import check_range
from ..motion_embedding.injection import apply_embedding, options_of, wired_family
from ..motion_embedding.resample import RESCALES
from ..motion_embedding.thumbnail import Thumbnail
from .common import (
    CATEGORY,
    FOLDER,
    Motion,
    check_writable,
    file_names,
    naming,
    register_folder,
    target_path,
    unused,
    verdict,
)
from .graph_models import remember
from .showing import pixels

register_folder()
_STRENGTH = {"default": 1.0, "min": -10.0, "max": 10.0, "step": 0.01}
_WINDOWS = {"over all": True, "in each": False}
_PRECISIONS = {"half": torch.float16, "full": torch.float32}
_SIZES = ("compact", "full")


class ApplyMotionEmbedding(io.ComfyNode):
    """Wires a motion into a model: whatever is sampled with the result moves that way."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_ApplyMotionEmbedding",
            display_name="Apply Motion Embedding",
            category=CATEGORY,
            description="Makes generations follow a learnt motion. Can be chained; the input model is not changed.",
            inputs=[
                io.Model.Input("model", tooltip="A video model of the kind that the motion was learnt on."),
                Motion.Input("motion", tooltip="From Train, Load, Import, Debias or Transform."),
                io.Float.Input(
                    "strength_query_key",
                    **_STRENGTH,
                    tooltip="How strongly frames attend to each other as in the reference. 1 as learnt, 0 off.",
                ),
                io.Float.Input(
                    "strength_value",
                    **_STRENGTH,
                    tooltip="How strongly the motion's content is added. 1 as learnt, 0 off.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Act from this part of the sampling on; 0 is the beginning.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Act up to this part of the sampling. The motion has a limit of its own (of its preset, or "
                    "until of Debias Motion); the earlier of the two counts.",
                ),
                io.Combo.Input(
                    "prompts",
                    options=["both", "positive only"],
                    default="both",
                    tooltip="Which half of the guidance is moved. both: as published. positive only: guidance then "
                    "also pushes towards the motion, and more of the reference's shape shows.",
                ),
                io.Combo.Input(
                    "windows",
                    options=list(_WINDOWS),
                    default=next(iter(_WINDOWS)),
                    optional=True,
                    tooltip="For videos longer than the model's, made in context windows. over all: the motion is "
                    "stretched over the whole video. in each: every window has all of it.",
                ),
                io.Combo.Input(
                    "expert",
                    options=["by noise level", "high noise", "low noise"],
                    default="by noise level",
                    optional=True,
                    tooltip="For a motion of Join Experts (Wan 2.2 14B): which half acts. by noise level: the one for "
                    "the noise there is; or that of the model wired here.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the motion.")],
            hidden=[io.Hidden.prompt],
        )

    @classmethod
    def validate_inputs(cls, start_percent=None, end_percent=None) -> bool | str:
        """Runs before anything else in the graph; the motion's own limit is only known after its training."""
        return verdict(check_range, start_percent, end_percent)

    @classmethod
    def execute(
        cls,
        model,
        motion,
        strength_query_key,
        strength_value,
        start_percent,
        end_percent,
        prompts,
        windows="over all",
        expert="by noise level",
    ) -> io.NodeOutput:
        remember(getattr(cls.hidden, "prompt", None), "model", wired_family(model.model, options_of(model))[0].family)
        return io.NodeOutput(
            apply_embedding(
                model,
                motion,
                strength_query_key,
                strength_value,
                start_percent,
                end_percent,
                positive_only=prompts == "positive only",
                whole=_WINDOWS[windows],
                expert=expert,
            )
        )


class DebiasMotion(io.ComfyNode):
    """Rids a motion of the reference's look."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_DebiasMotion",
            display_name="Debias Motion",
            category=CATEGORY,
            description="Chooses how a motion is rid of the reference's look, instead of what its preset or file says.",
            inputs=[
                Motion.Input("motion", tooltip="The motion to clean."),
                io.Combo.Input(
                    "value",
                    options=list(VALUE_STRATEGIES),
                    default="plain",
                    tooltip="plain: as learnt. difference: each frame minus the one before (published). "
                    "difference_without_first: also drops frame 0. without_mean: minus what all frames share. "
                    "camera: no value at all (published, for camera motion).",
                ),
                io.Combo.Input(
                    "query_key",
                    options=list(QUERY_KEY_STRATEGIES),
                    default="plain",
                    tooltip="plain: as learnt. without_mean: minus what all frames share.",
                ),
                io.Combo.Input(
                    "rescale",
                    options=list(RESCALES),
                    default="off",
                    optional=True,
                    tooltip="For the differences, where the clip has another number of frames than the motion. "
                    "total: they add up to what was learnt. pace: each is as large as it was learnt.",
                ),
                io.Float.Input(
                    "until",
                    default=0.5,
                    min=0.05,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="Act only up to this part of the sampling. Motion is settled early, looks late: 0.5 keeps "
                    "the reference's shape out; camera moves want 0.65 to 0.8. 1 as published.",
                ),
            ],
            outputs=[Motion.Output(display_name="motion", tooltip="The cleaned motion; the input stays as it is.")],
        )

    @classmethod
    def execute(cls, motion, value, query_key, rescale="off", until=1.0) -> io.NodeOutput:
        """Graphs from before ``rescale`` and ``until`` existed do as they did; the editor's own default is better."""
        return io.NodeOutput(motion.replace(debias=Debias(value, query_key, rescale, until)))


class SaveMotionEmbedding(io.ComfyNode):
    """Writes a motion to ``models/motion_embeddings``."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_SaveMotionEmbedding",
            display_name="Save Motion Embedding",
            category=CATEGORY,
            description="Saves a motion as one small .safetensors file in models/motion_embeddings, ready to share.",
            is_output_node=True,
            inputs=[
                Motion.Input("motion", tooltip="The motion to save."),
                io.String.Input(
                    "filename",
                    default="my_motion",
                    tooltip="Name of the file, folders allowed. An existing file is kept; the new one gets a number.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(_PRECISIONS),
                    default="half",
                    tooltip="half is small and loses nothing seen.",
                ),
                io.Latent.Input(
                    "inverted_noise",
                    optional=True,
                    tooltip="From Invert Video Noise: the noise of the same reference clip, to travel in the file.",
                ),
                io.Combo.Input(
                    "size",
                    options=list(_SIZES),
                    default="compact",
                    optional=True,
                    tooltip="compact: the values as two small tables in few bits, a few to a hundred times smaller; as "
                    "far off as the motion hardly shows, and the node says how far. full: the values as learnt.",
                ),
                io.Image.Input(
                    "frames",
                    optional=True,
                    tooltip="Frames of the clip it was learnt from, for the small picture in the file.",
                ),
            ],
            outputs=[io.String.Output(display_name="path", tooltip="Where it was written.")],
        )

    @classmethod
    def validate_inputs(cls, filename) -> bool | str:
        """Runs before anything else in the graph, so that a long training does not end in a failed write."""
        return verdict(lambda name: check_writable(target_path(name)), filename)

    @classmethod
    def execute(cls, motion, filename, precision, inverted_noise=None, size="full", frames=None) -> io.NodeOutput:
        """Graphs from before ``size`` existed write what they wrote."""
        if frames is not None:
            motion = motion.replace(thumbnail=Thumbnail.of(pixels(frames)) or motion.thumbnail)
        if inverted_noise is not None:
            motion = motion.replace(inverted_noise=_first_noise(inverted_noise))
        off = error_of(motion.backbone) if size == "compact" else 0.0
        with naming:
            path = unused(target_path(filename))
            error = files.save(motion, path, _PRECISIONS[precision], off)
        written = motion.replace(values_error=error).describe()
        text = f"{path}\n{path.stat().st_size / 1e6:.2f} MB · {written}{_misfit(motion)}"
        return io.NodeOutput(str(path), ui=ui.PreviewText(text))


def _first_noise(latent: dict) -> torch.Tensor:
    """The inverted noise ``[C, F, h, w]`` of the first clip in ``latent``."""
    noise = latent.get("inverted_noise")
    if noise is None:
        raise InputError("inverted_noise", "this latent carries none.", "Wire the output of Invert Video Noise.")
    return noise[0]


def _misfit(motion) -> str:
    """A warning where the noise cannot be that of the motion's clip; no error, which would cost a long training."""
    noise = motion.inverted_noise
    if noise is None or not motion.height or noise.shape[1:] == (motion.frames, motion.height, motion.width):
        return ""
    frames, height, width = noise.shape[1:]
    return f"\nThe inverted noise is of another clip than the motion: {frames} frames, latent {width}x{height}."


class LoadMotionEmbedding(io.ComfyNode):
    """Reads a motion from ``models/motion_embeddings``."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_LoadMotionEmbedding",
            display_name="Load Motion Embedding",
            category=CATEGORY,
            description="Loads a motion saved or shared as a .safetensors file in models/motion_embeddings.",
            inputs=[
                io.Combo.Input(
                    "motion_embedding",
                    options=file_names(),
                    tooltip="A file in models/motion_embeddings.",
                )
            ],
            outputs=[Motion.Output(display_name="motion", tooltip="The motion in the file.")],
        )

    @classmethod
    def fingerprint_inputs(cls, motion_embedding) -> str:
        if motion_embedding is None:
            return ""
        path = folder_paths.get_full_path(FOLDER, motion_embedding)
        status = Path(path).stat() if path else None
        return f"{path} {status.st_mtime_ns} {status.st_size}" if status else ""

    @classmethod
    def validate_inputs(cls, motion_embedding) -> bool | str:
        return verdict(
            lambda name: files.read_metadata(folder_paths.get_full_path(FOLDER, name) or name), motion_embedding
        )

    @classmethod
    def execute(cls, motion_embedding) -> io.NodeOutput:
        motion = files.load(folder_paths.get_full_path_or_raise(FOLDER, motion_embedding))
        return io.NodeOutput(motion, ui=ui.PreviewText(motion.describe()))


NODES = [ApplyMotionEmbedding, DebiasMotion, SaveMotionEmbedding, LoadMotionEmbedding]
