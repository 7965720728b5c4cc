"""Editing a motion on the graph."""

from __future__ import annotations

from comfy_api.latest import io

from ..motion_embedding import transforms
from .common import CATEGORY, Motion

_OPERATIONS = {
    "reverse": transforms.reverse,
    "there and back": transforms.there_and_back,
    "repeat twice": lambda motion: transforms.repeat(motion, 2),
    "mirror left-right": lambda motion: transforms.mirror(motion, "left-right"),
    "mirror up-down": lambda motion: transforms.mirror(motion, "up-down"),
    "rotate left": lambda motion: transforms.rotate(motion, 1),
    "rotate right": lambda motion: transforms.rotate(motion, -1),
    "rotate half": lambda motion: transforms.rotate(motion, 2),
}
_FRAMES = "How many frames the motion has now. Wire it to the empty clip: squeezed into fewer, an edit may be lost."
_EDITED = "The edited motion; the input stays as it is."


class TransformMotion(io.ComfyNode):
    """Turns a motion around, in time or in the frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_TransformMotion",
            display_name="Transform Motion",
            category=CATEGORY,
            description="Reverses, loops, mirrors or rotates a motion without training again. Can be chained.",
            inputs=[
                Motion.Input("motion", tooltip="The motion to edit."),
                io.Combo.Input(
                    "operation",
                    options=list(_OPERATIONS),
                    default="reverse",
                    tooltip="reverse: backwards in time. there and back: forwards, then backwards, in nearly twice the "
                    "frames. repeat twice: again from the start, in twice the frames. mirror: left and right, or up "
                    "and down, swapped. "
                    "rotate: what moved right moves up (left), down (right) or left (half).",
                ),
            ],
            outputs=[
                Motion.Output(display_name="motion", tooltip=_EDITED),
                io.Int.Output(display_name="frames", tooltip=_FRAMES),
            ],
        )

    @classmethod
    def execute(cls, motion, operation) -> io.NodeOutput:
        edited = _OPERATIONS[operation](motion)
        return io.NodeOutput(edited, edited.frames)


class JoinMotions(io.ComfyNode):
    """One motion after another."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_JoinMotions",
            display_name="Join Motions",
            category=CATEGORY,
            description="Puts one motion after another, in as many frames as both have together.",
            inputs=[
                Motion.Input("first", tooltip="What moves first. Its debias holds for both."),
                Motion.Input("second", tooltip="What comes after it; learnt on the same model and layers."),
            ],
            outputs=[
                Motion.Output(display_name="motion", tooltip="Both in a row; the inputs stay as they are."),
                io.Int.Output(display_name="frames", tooltip=_FRAMES),
            ],
        )

    @classmethod
    def execute(cls, first, second) -> io.NodeOutput:
        joined = transforms.join(first, second)
        return io.NodeOutput(joined, joined.frames)


class ShiftMotion(io.ComfyNode):
    """Moves a motion to another place in the frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        share = {"default": 0.0, "min": -1.0, "max": 1.0, "step": 0.01}
        return io.Schema(
            node_id="ME_ShiftMotion",
            display_name="Shift Motion",
            category=CATEGORY,
            description="Makes a motion happen elsewhere in the frame, without training again.",
            inputs=[
                Motion.Input("motion", tooltip="The motion to shift."),
                io.Float.Input("right", **share, tooltip="Share of the frame's width; negative is to the left."),
                io.Float.Input("down", **share, tooltip="Share of the frame's height; negative is up."),
            ],
            outputs=[Motion.Output(display_name="motion", tooltip=_EDITED)],
        )

    @classmethod
    def execute(cls, motion, right, down) -> io.NodeOutput:
        return io.NodeOutput(transforms.shift(motion, right, down))


NODES = [TransformMotion, JoinMotions, ShiftMotion]
