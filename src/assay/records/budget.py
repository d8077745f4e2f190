"""How many rejects a run may have."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from assay.errors import ConfigurationError


@dataclass(frozen=True)
class Budget:
    """A number of records, or a share of those read; `limit` None is no limit."""

    limit: Decimal | None = None
    is_share: bool = False

    @classmethod
    def parse(cls, text: int | str | None) -> Budget:
        """From `100` or `"1.5%"`.

        Raises:
            ConfigurationError: neither.
        """
        if text is None:
            return cls()
        number, percent, rest = str(text).partition("%")
        try:
            limit = Decimal(number)
        except InvalidOperation:
            limit = Decimal(-1)
        senseless = limit > 100 if percent else limit != limit.to_integral_value() if limit.is_finite() else False
        if not limit.is_finite() or limit < 0 or rest or senseless:
            raise ConfigurationError(f'max_rejects is a number of records or a share such as "1%", not {text!r}')
        return cls(limit, bool(percent))

    def exceeded(self, rejected: int, read: int) -> bool:
        """Whether it is used up."""
        if self.limit is None:
            return False
        return rejected * 100 > self.limit * read if self.is_share else rejected > self.limit

    def __str__(self) -> str:
        return "none" if self.limit is None else f"{self.limit}{'%' if self.is_share else ''}"
