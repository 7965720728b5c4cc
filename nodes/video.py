"""LoadVideoFrames: a few frames of a video, at the rate and size that a model wants."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import comfy.model_management
import comfy.utils
import folder_paths
from comfy_api.input import VideoInput
from comfy_api.input_impl import VideoFromComponents, VideoFromFile
from comfy_api.latest import io, ui
from comfy_api.util import VideoComponents

from ..motion_embedding.errors import InputError
from ..motion_embedding.node_text import tell
from ..motion_embedding.video import DecodedClip, TensorClip, VideoRequest, decode_frames, picture_size
from . import examples
from .common import CATEGORY

NO_FILE = "none"
_ANIMATIONS = (".gif", ".webp", ".apng")
_UNLINKED = object()


class LoadVideoFrames(io.ComfyNode):
    """Frames of a file in the input folder, or of a wired VIDEO."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_LoadVideoFrames",
            display_name="Load Video Frames",
            category=CATEGORY,
            description=(
                "Takes a few frames from a video at the rate and size a model wants. Only what is needed is decoded, "
                "so a long, large file costs no more memory than a short one."
            ),
            inputs=[
                io.Combo.Input(
                    "file",
                    options=_files() or [NO_FILE],
                    upload=io.UploadType.video,
                    tooltip="A video, GIF or animated WebP in ComfyUI's input folder. Not used when video is wired.",
                ),
                io.Float.Input(
                    "start",
                    default=0.0,
                    min=0.0,
                    max=1e6,
                    step=0.01,
                    tooltip="Second of the clip at which the first frame is taken.",
                ),
                io.Int.Input(
                    "frames",
                    default=8,
                    min=2,
                    max=4096,
                    tooltip="How many frames. Match what the model was made for: 8 for the tiny demo model, 16 for "
                    "ModelScope and AnimateDiff, 24 for ZeroScope; for Wan and other video transformers one more than "
                    "a multiple of 8, such as 49.",
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=1000.0,
                    step=0.01,
                    tooltip="Frames per second to sample at, taking the frame nearest in time. 0 takes the clip's own "
                    "frames one after the other.",
                ),
                io.Int.Input(
                    "stride",
                    default=1,
                    min=1,
                    max=4096,
                    tooltip="Keep every nth frame (of the rate in fps, if one is set): 2 covers twice the time.",
                ),
                io.Int.Input(
                    "width",
                    default=0,
                    min=0,
                    max=16384,
                    tooltip="Width in pixels. 0 keeps the clip's, or follows from height and the clip's shape.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=16384,
                    tooltip="Height in pixels. 0 keeps the clip's, or follows from width and the clip's shape.",
                ),
                io.Combo.Input(
                    "resize",
                    options=["crop", "fit", "stretch"],
                    default="crop",
                    tooltip="How another shape is met. crop: fill and cut the overhang evenly. fit: show everything, "
                    "black bars around it. stretch: change the proportions.",
                ),
                io.Int.Input(
                    "multiple_of",
                    default=8,
                    min=1,
                    max=1024,
                    tooltip="Width and height are rounded to a multiple of this; most models need 8, some 16 or 32.",
                ),
                io.Video.Input(
                    "video", optional=True, tooltip="A video from another node. When wired it is used instead of file."
                ),
            ],
            outputs=[
                io.Image.Output(display_name="frames", tooltip="The frames, in order."),
                io.Video.Output(display_name="video", tooltip="The same frames as a video at the resulting rate."),
                io.Float.Output(display_name="fps", tooltip="Frames per second of the frames returned."),
                io.Int.Output(display_name="frame_count", tooltip="How many frames were returned."),
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str, video: object = _UNLINKED) -> bool | str:
        if video is not _UNLINKED or file is None:  # None: wired from another node
            return True
        if not file or file == NO_FILE:
            return "file: no video is chosen. Upload one, or wire one into video."
        if not folder_paths.exists_annotated_filepath(file) and file not in examples.clips():
            return f"file: {file!r} is not in the input folder. Upload it again, or choose another."
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: object) -> str:
        path = _path(file or NO_FILE)
        if not path.is_file():
            return NO_FILE
        status = path.stat()
        return f"{path}:{status.st_mtime_ns}:{status.st_size}"

    @classmethod
    def execute(cls, file: str, video: VideoInput | None = None, **settings: object) -> io.NodeOutput:
        request = VideoRequest(**settings)
        progress = comfy.utils.ProgressBar(request.frames)

        def on_frame(kept: int) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            progress.update_absolute(kept)

        if video is None:
            if not file or file == NO_FILE:
                raise InputError("file", "no video is chosen.", "Upload one, or wire one into video.")
            clip = decode_frames(_path(file), request, on_frame=on_frame)
        else:
            source, window = _source(video)
            clip = decode_frames(source, request, window=window, name="video", on_frame=on_frame)
        rate = Fraction(clip.fps).limit_denominator(1001)
        output = VideoFromComponents(VideoComponents(images=clip.frames, audio=None, frame_rate=rate))
        summary = _summary(clip)
        tell(summary)
        return io.NodeOutput(clip.frames, output, clip.fps, len(clip.frames), ui=ui.PreviewText(summary))


def _files() -> list[str]:
    """Videos and animations in the input folder, by name, then the pack's own."""
    names = [entry.name for entry in Path(folder_paths.get_input_directory()).iterdir() if entry.is_file()]
    videos = folder_paths.filter_files_content_types(names, ["video"])
    found = sorted({*videos, *(name for name in names if name.lower().endswith(_ANIMATIONS))})
    return list(dict.fromkeys([*found, *examples.clips()]))


def _path(file: str) -> Path:
    return examples.or_ours(Path(folder_paths.get_annotated_filepath(file)), file)


def _source(video: VideoInput) -> tuple[object, tuple[float, float]]:
    """What to decode and the part of it that counts, without decoding all of a video that lies in a file."""
    if isinstance(video, VideoFromFile):
        source = video.get_stream_source()
        # Newer hosts trim and crop a file lazily. The trim is a window; a crop only its own decoder applies.
        if not hasattr(video, "as_cropped") or sorted(video.get_dimensions()) == sorted(picture_size(source, "video")):
            trim = getattr(video, "get_active_trim_window", None)
            return source, trim() if trim else (0.0, 0.0)
    components = video.get_components()
    return TensorClip(components.images, float(components.frame_rate)), (0.0, 0.0)


def _summary(clip: DecodedClip) -> str:
    count, height, width = clip.frames.shape[:3]
    text = f"{count} frames, {width}x{height}, {clip.fps:.2f} fps, {clip.times[0]:.2f} to {clip.times[-1]:.2f} s"
    return f"{text}\n{clip.warning}" if clip.warning else text


NODES = [LoadVideoFrames]
