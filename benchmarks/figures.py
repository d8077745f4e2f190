"""What was wanted of a comparison, what was reached, and the table that a run of the benchmarks ends with."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Figure:
    """One ratio, and its bound.

    Attributes:
        what: Assay's work.
        against: What it is compared with.
        of: "rate": Assay's records a second over the other's; "time" and "memory": Assay's need over the other's.
        wanted: The least rate, or the most time or memory; None where the ratio is only reported.
        aim: What would be better still.
    """

    what: str
    against: str
    of: Literal["rate", "time", "memory"]
    wanted: float | None = None
    aim: float | None = None

    def __str__(self) -> str:
        return f"{self.what}, against {self.against}"

    @property
    def bound(self) -> str:
        """The bound in words."""
        if self.wanted is None:
            return "report" if self.aim is None else f"report; {self.aim:g} x would be splendid"
        if self.of != "rate":
            return f"at most {self.wanted:g} x the {self.of}"
        return f"{self.wanted:g} x" if self.aim is None else f"{self.wanted:g} x, aim at {self.aim:g} x"


@dataclass(frozen=True)
class Reached:
    """What one comparison found, round by round; ours and the other's rounds took turns.

    Attributes:
        figure: What was compared.
        ours: Seconds, or bytes where the figure is of memory, a round.
        other: The same of what it is compared with.
        records: How many either read.
        peaks: The most memory of each in a process of its own, in bytes.
    """

    figure: Figure
    ours: Sequence[float]
    other: Sequence[float]
    records: int | None = None
    peaks: tuple[int, int] | None = None

    @property
    def ratio(self) -> float:
        """The median of the pairwise ratios."""
        return statistics.median(self._ratio(*pair) for pair in zip(self.ours, self.other, strict=True))

    @property
    def best(self) -> float:
        """The ratio of the best rounds: noise only ever adds."""
        return self._ratio(min(self.ours), min(self.other))

    def _ratio(self, ours: float, other: float) -> float:
        return other / ours if self.figure.of == "rate" else ours / other

    @property
    def mark(self) -> str:
        """Whether the bound is kept; empty where there is none."""
        wanted = self.figure.wanted
        if wanted is None:
            return ""
        kept = self.ratio >= wanted if self.figure.of == "rate" else self.ratio <= wanted
        return "pass" if kept else "miss"

    def row(self) -> str:
        """Its row of the table; in cells of two, ours stands first."""
        best = min(self.ours), min(self.other)
        speeds = peaks = ""
        if self.figure.of == "memory":
            peaks = " · ".join(f"{size / MIB:,.0f}" for size in best)
        elif self.records is None:
            speeds = " · ".join(f"{seconds:.3f} s" for seconds in best)
        else:
            speeds = " · ".join(f"{self.records / seconds:,.0f}" for seconds in best)
        if self.peaks is not None:
            peaks = " · ".join(f"{size / MIB:,.0f}" for size in self.peaks)
        mark = "**miss**" if self.mark == "miss" else self.mark
        cells = [str(self.figure), self.figure.bound, f"{self.ratio:.2f} x", mark, f"{self.best:.2f} x"]
        return f"| {' | '.join([*cells, speeds, peaks])} |"


HEAD: Final = (
    "| figure | wanted | reached | | of the best rounds | records/s | peak MiB |",
    "|---|---|---:|---|---:|---:|---:|",
)
