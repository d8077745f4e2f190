"""The ledger of a run: every record is accounted for, and every cent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from assay.errors import LedgerError
from assay.money import EXACT
from assay.records import FileCount


@dataclass
class Money:
    """Sums of the priced rows of one currency.

    `list` is the sum before discounts; list - discounts = net; net + tax = gross. `set_aside` is the gross of rows that
    were priced and then rejected with their document.
    """

    list: Decimal = Decimal(0)
    discounts: Decimal = Decimal(0)
    net: Decimal = Decimal(0)
    tax: Decimal = Decimal(0)
    gross: Decimal = Decimal(0)
    set_aside: Decimal = Decimal(0)

    def add(self, more: Money) -> None:
        """Add other sums to these."""
        for name, value in vars(more).items():
            setattr(self, name, EXACT.add(getattr(self, name), value))

    def as_json(self) -> dict[str, str]:
        """Amounts as decimal strings."""
        return {name: format(value, "f") for name, value in vars(self).items()}


@dataclass
class Ledger:
    """Counts records and money on their way.

    Attributes:
        files: What was read of each file.
        filtered: Records by the step that filtered them.
        rejected: Records by the stage that rejected them.
        written: Records that reached the outputs.
        rows: Rows given to each output.
        money: Sums by currency; empty where the pipeline has no money.
    """

    files: dict[str, FileCount] = field(default_factory=dict)
    filtered: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    written: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    money: dict[str, Money] = field(default_factory=dict)

    @property
    def read(self) -> int:
        """Records read."""
        return sum(file.read for file in self.files.values())

    @property
    def counts(self) -> dict[str, int]:
        """The four numbers that must balance."""
        return {
            "read": self.read,
            "written": self.written,
            "filtered": self.filtered.total(),
            "rejected": self.rejected.total(),
        }

    def check(self, staged: Mapping[str, int]) -> None:
        """See that it balances.

        Args:
            staged: Rows that each output has staged, as the output counts them.

        Raises:
            LedgerError: with every figure that does not agree.
        """
        wrong = []
        counts = self.counts
        if counts["read"] != counts["written"] + counts["filtered"] + counts["rejected"]:
            wrong.append(
                f"records: read {counts['read']:,} is not written {counts['written']:,} + filtered "
                f"{counts['filtered']:,} + rejected {counts['rejected']:,}"
            )
        wrong.extend(
            f"output {name}: {self.rows[name]:,} rows were given to it, {rows:,} are staged"
            for name, rows in staged.items()
            if rows != self.rows[name]
        )
        for currency, sums in self.money.items():
            if EXACT.subtract(sums.list, sums.discounts) != sums.net:
                wrong.append(f"{currency}: list {sums.list} - discounts {sums.discounts} is not net {sums.net}")
            if EXACT.add(sums.net, sums.tax) != sums.gross:
                wrong.append(f"{currency}: net {sums.net} + tax {sums.tax} is not gross {sums.gross}")
        if wrong:
            raise LedgerError("the ledger does not balance; nothing was published: " + "; ".join(wrong))

    def as_json(self) -> dict[str, Any]:
        """For the run store and the manifest."""
        return {
            "counts": self.counts,
            "filtered": dict(self.filtered),
            "rejected": dict(self.rejected),
            "rows": dict(self.rows),
            "money": {currency: sums.as_json() for currency, sums in sorted(self.money.items())},
            "files": [vars(file) for file in self.files.values()],
        }
