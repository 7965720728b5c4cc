"""Editing a motion on the graph."""

from __future__ import annotations

from comfy_api.latest import io

from ..motion_embedding import transforms
from .common import CATEGORY, Motion

_OPERATIONS = {
    "reverse": transforms.reverse,
    "mirror left-right": lambda motion: transforms.mirror(motion, "left-right"),
    "mirror up-down": lambda motion: transforms.mirror(motion, "up-down"),
    "rotate left": lambda motion: transforms.rotate(motion, 1),
    "rotate right": lambda motion: transforms.rotate(motion, -1),
    "rotate half": lambda motion: transforms.rotate(motion, 2),
}
_EDITED = "The edited motion; the input stays as it is."


class TransformMotion(io.ComfyNode):
    """Turns a motion around, in time or in the frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_TransformMotion",
            display_name="Transform Motion",
            category=CATEGORY,
            description="Reverses, mirrors or rotates a motion without training again. Can be chained.",
            inputs=[
                Motion.Input("motion", tooltip="The motion to edit."),
                io.Combo.Input(
                    "operation",
                    options=list(_OPERATIONS),
                    default="reverse",
                    tooltip="reverse: backwards in time. mirror: left and right, or up and down, swapped. "
                    "rotate: what moved right moves up (left), down (right) or left (half).",
                ),
            ],
            outputs=[Motion.Output(display_name="motion", tooltip=_EDITED)],
        )

    @classmethod
    def execute(cls, motion, operation) -> io.NodeOutput:
        return io.NodeOutput(_OPERATIONS[operation](motion))


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


NODES = [TransformMotion, ShiftMotion]
