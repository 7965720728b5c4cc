"""Clips as a person sees them on a node."""

from __future__ import annotations

from pathlib import Path

import folder_paths
import numpy as np
import torch
from comfy_api.latest import io, ui

from ..motion_embedding.errors import InputError
from ..motion_embedding.video_writing import write_video


def clip_pixels(name: str, images: torch.Tensor) -> np.ndarray:
    """uint8 ``[F, H, W, 3]`` of the host's float ``[F, H, W, C]``; :class:`InputError` unless that is a clip."""
    if len(images) < 2:
        raise InputError(name, "it is a single picture, which has no motion.", "Wire all frames of a clip.")
    if not torch.isfinite(images).all():
        raise InputError(
            name, "it holds values that are no numbers.", "Look at what made it: a model in fp16, perhaps."
        )
    return pixels(images)


def pixels(images: torch.Tensor) -> np.ndarray:
    """uint8 ``[F, H, W, 3]`` of the host's float ``[F, H, W, C]``."""
    return (images[..., :3].clamp(0, 1) * 255).round().byte().cpu().numpy()


def shown_video(frames: torch.Tensor, fps: float, name: str) -> ui.PreviewVideo:
    """Show ``frames`` ``[F, H, W, 3]`` on the node as a video: the editor draws animated pictures over the graph."""
    height, width = frames.shape[1:3]
    folder, file, number, subfolder, _ = folder_paths.get_save_image_path(
        name, folder_paths.get_temp_directory(), width, height
    )
    file = f"{file}_{number:05}_.mp4"
    write_video(Path(folder) / file, frames, fps)
    return ui.PreviewVideo([ui.SavedResult(file, subfolder, io.FolderType.temp)])
