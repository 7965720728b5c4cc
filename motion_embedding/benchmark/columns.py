"""What is measured of every item: the columns of tables and files, in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One metric: its key in a score, its heading, whether more is better, decimals, unit and how it is computed."""

    key: str
    label: str
    higher: bool
    decimals: int
    unit: str
    formula: str

    @property
    def arrow(self) -> str:
        return "↑" if self.higher else "↓"

    def text(self, value: float | None, signed: bool = False) -> str:
        """``value`` as it is printed; a dash where there is none."""
        if value is None:
            return "\N{EN DASH}"
        return f"{value:{'+' if signed else ''}.{self.decimals}f}".replace("-", "\N{MINUS SIGN}")


COLUMNS = (
    Column(
        "motion_fidelity",
        "motion fidelity",
        True,
        3,
        "",
        "Points are followed through both clips. Two tracks correlate by the mean over time of the cosine of their "
        "steps from frame to frame. The score is half the mean, over the result's tracks, of the best match in the "
        "reference, plus half the mean, over the reference's tracks, of the best match in the result "
        "(Yatim et al., arXiv 2311.17009), always the best of the same number of tracks. Chance is the result's mean "
        "score against unrelated references, turned the same against turned and reversed copies of the reference's own "
        "motion: a score means something as far as it is above both. Ceiling is what the reference scores against "
        "itself. Without any track a score is 0.",
    ),
    Column(
        "camera_pan_error",
        "pan error",
        False,
        2,
        "% of diagonal per step",
        "The camera's step between two frames is the shift, zoom and turn that most tracks follow; none where too few "
        "agree. Error in the shift, as a share of the frame's diagonal, mean over steps.",
    ),
    Column(
        "camera_zoom_error",
        "zoom error",
        False,
        2,
        "% per step",
        "Absolute log ratio of the two cameras' zoom per step, mean over steps.",
    ),
    Column(
        "camera_roll_error", "roll error", False, 2, "° per step", "Difference of the two cameras' roll per step, mean."
    ),
    Column(
        "text_similarity",
        "text similarity",
        True,
        4,
        "",
        "Cosine of the prompt's and a frame's CLIP vectors, mean over frames.",
    ),
    Column(
        "temporal_consistency",
        "temporal consistency",
        True,
        4,
        "",
        "Cosine of the CLIP vectors of consecutive frames, mean. A still picture scores 1.",
    ),
    Column(
        "appearance_leakage",
        "appearance leakage",
        False,
        3,
        "",
        "Cosine of the image vectors of the result's and the reference's frames, mean over all pairs of frames, minus "
        "the same with unrelated references: what of the reference's look came over. About 0 when nothing did.",
    ),
)
"""The metrics of the report, in its order."""

SCORE_KEYS = (
    "motion_fidelity",
    "motion_fidelity_chance",
    "motion_fidelity_chance_turned",
    "motion_fidelity_ceiling",
    "tracks_reference",
    "tracks_result",
    *(column.key for column in COLUMNS[1:]),
)
"""Everything that ``metrics.transfer.measure`` says about one result."""
