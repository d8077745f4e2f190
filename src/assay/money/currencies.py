"""Currencies: how many digits stand behind the point (ISO 4217, withdrawn codes kept)."""

from __future__ import annotations

import datetime as dt
import difflib

from assay.errors import ConfigurationError
from assay.money._iso4217 import MINOR_UNITS, WITHDRAWN, WITHOUT_MINOR_UNITS

__all__ = ["MAX_MINOR_UNITS", "MINOR_UNITS", "has_minor_units", "minor_units", "withdrawn"]

MAX_MINOR_UNITS = max(MINOR_UNITS.values())


def minor_units(code: str) -> int:
    """Digits of the currency's minor unit: 2 for EUR, 0 for JPY, 3 for KWD.

    Raises:
        ConfigurationError: No such currency (the nearest is named), or one without a minor unit, such as XAU.
    """
    digits = MINOR_UNITS.get(code)
    if digits is None:
        raise ConfigurationError(_no_minor_units(code))
    return digits


def has_minor_units(code: str) -> bool:
    """Whether amounts in this currency can be rounded: it is known and has a minor unit."""
    return code in MINOR_UNITS


def withdrawn(code: str) -> dt.date | None:
    """The day from which another currency has its place (HRK: 2023-01-01), or None while it is current.

    Raises:
        ConfigurationError: No such currency.
    """
    if code not in MINOR_UNITS and code not in WITHOUT_MINOR_UNITS:
        raise ConfigurationError(_no_minor_units(code))
    day = WITHDRAWN.get(code)
    return None if day is None else dt.date.fromisoformat(day)


def _no_minor_units(code: str) -> str:
    if code in WITHOUT_MINOR_UNITS:
        return f'"{code}" has no minor unit in ISO 4217 (metals, funds and tests have none): amounts cannot be rounded'
    near = _nearest(code.upper())
    hint = f'; did you mean "{near}"?' if near else "; write three capital letters, such as EUR"
    return f'no currency "{code}" in ISO 4217{hint}'


def _nearest(code: str) -> str | None:
    """Of three letters one is a third, too much for the usual cutoff; the country's two letters count most."""
    country = [known for known in MINOR_UNITS if known[:2] == code[:2] and len(code) == 3]
    found = country or difflib.get_close_matches(code, MINOR_UNITS, n=1, cutoff=0.6)
    return found[0] if found else None
