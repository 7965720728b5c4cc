"""AnimateDiff's motion models: what makes videos of an SD1.5 checkpoint."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..motion_embedding.animatediff import check_header, load_animatediff
from ..motion_embedding.errors import InputError
from .common import CATEGORY, file_names, register_folder, verdict

_FOLDERS = ("animatediff_models", "motion_modules")  # the first is AnimateDiff-Evolved's as well
for _name in _FOLDERS:
    register_folder(_name, folder_paths.supported_pt_extensions)
_BETAS = {"AnimateDiff": True, "as the model": False}


class LoadAnimateDiffModel(io.ComfyNode):
    """Puts a motion model beside an SD1.5 model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        files = dict.fromkeys(name for folder in _FOLDERS for name in file_names(folder))
        return io.Schema(
            node_id="ME_LoadAnimateDiffModel",
            display_name="Load AnimateDiff Model",
            category=CATEGORY,
            description="Makes videos with an SD1.5 model: the pictures of a latent batch become the frames of one "
            "video. For AnimateDiff version 2 and 3.",
            inputs=[
                io.Model.Input("model", tooltip="The MODEL of an SD1.5 checkpoint, LoRAs included."),
                io.Combo.Input(
                    "motion_model",
                    options=list(files),
                    tooltip="A file in models/animatediff_models or models/motion_modules, such as v3_sd15_mm.ckpt.",
                ),
                io.Combo.Input(
                    "beta_schedule",
                    options=list(_BETAS),
                    default=next(iter(_BETAS)),
                    tooltip="Noise levels to sample at. AnimateDiff: those it was trained with. as the model: those "
                    "of the checkpoint, or of a sampling node before this one.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="How strongly the motion model acts. 1 as trained, 0 off: then every frame is a picture "
                    "of its own.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="Makes videos. Give it EmptyLatentImage with batch_size as the number of frames.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, motion_model=None, **_) -> str:
        if motion_model is None:
            return ""
        status = _find(motion_model).stat()
        return f"{motion_model} {status.st_mtime_ns} {status.st_size}"

    @classmethod
    def validate_inputs(cls, motion_model=None) -> bool | str:
        return verdict(lambda name: check_header(_find(name)), motion_model)

    @classmethod
    def execute(cls, model, motion_model, beta_schedule, strength) -> io.NodeOutput:
        return io.NodeOutput(load_animatediff(model, _find(motion_model), _BETAS[beta_schedule], strength))


def _find(name: str) -> Path:
    paths = (folder_paths.get_full_path(folder, name) for folder in _FOLDERS)
    path = next((p for p in paths if p), None)
    if path is None:
        raise InputError(
            "motion_model",
            f"there is no file {name!r}.",
            "Copy it to models/animatediff_models and press R in the editor to refresh the list.",
        )
    return Path(path)


NODES = [LoadAnimateDiffModel]
