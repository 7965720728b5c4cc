"""Methods against each other: means, who leads beyond doubt, and differences on the same scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .columns import COLUMNS, Column
from .scored import SCORED, Row
from .statistics import Estimate, difference, estimate

Scenes = Mapping[tuple[str, str, int], Row]


class Comparison:
    """The scored rows of some methods, by method and scene (clip, prompt, seed)."""

    def __init__(self, methods: Sequence[str], rows: Sequence[Row]) -> None:
        self.methods = tuple(methods)
        self._rows: dict[str, Scenes] = {
            method: {row.scene: row for row in rows if row.method == method and row.status == SCORED}
            for method in methods
        }
        self._means: dict[tuple[str, str], Estimate | None] = {}

    def count(self, method: str) -> int:
        """Scored items of a method."""
        return len(self._rows[method])

    def scenes(self, method: str, key: str) -> set[tuple[str, str, int]]:
        """The scenes in which the method has a value of metric ``key``."""
        return {scene for scene, row in self._rows[method].items() if row.values.get(key) is not None}

    def mean(self, method: str, key: str) -> Estimate | None:
        """The mean of metric ``key`` over everything the method made."""
        if (method, key) not in self._means:
            rows = self._rows[method].values()
            self._means[method, key] = estimate([row.values.get(key) for row in rows], [row.clip for row in rows])
        return self._means[method, key]

    def difference(self, method: str, other: str, key: str) -> Estimate | None:
        """The mean of ``method`` minus ``other`` over the scenes that both made."""
        mine, theirs = self._rows[method], self._rows[other]
        scenes = [scene for scene in mine if scene in theirs]
        return difference(
            [mine[scene].values.get(key) for scene in scenes],
            [theirs[scene].values.get(key) for scene in scenes],
            [scene[0] for scene in scenes],
        )

    def best(self, column: Column) -> str | None:
        """The method with the best mean; None where no method has one."""
        means = {method: found.mean for method in self.methods if (found := self.mean(method, column.key))}
        choice = max if column.higher else min
        return choice(means, key=lambda method: means[method], default=None)

    def leader(self, column: Column) -> str | None:
        """The best method where it is better than every other by a paired difference whose interval excludes zero."""
        best = self.best(column)
        rivals = [other for other in self.methods if other != best and self.mean(other, column.key)]
        if best is None or not rivals:
            return None
        gaps = [self.difference(best, other, column.key) for other in rivals]
        ahead = all(gap and gap.excludes_zero and (gap.mean > 0) == column.higher for gap in gaps)
        return best if ahead else None

    def shown(self) -> list[Column]:
        """The columns that at least one method has a value in."""
        return [column for column in COLUMNS if any(self.mean(method, column.key) for method in self.methods)]
