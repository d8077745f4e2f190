"""Claims: for one value, a text pattern, a decode, a conversion and a check that together leave Pydantic no choice.

Where the JSON text of a value matches the pattern, the conversion gives a value, and the check is true of it, Pydantic
accepts it, with this value. Nothing is claimed of other values: they go to the
reference. Each claim is modest on purpose; tests hold it against Pydantic.
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any, Final

import polars as pl

from assay.records.observe import Observed

Node = Mapping[str, Any]

#: A string without escapes.
TEXT: Final = r'"[^"\\\x00-\x1f]*"'
_PAIR: Final = r"[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_UNIT: Final = rf"\\u(?:[0-9a-cefA-CEF][0-9a-fA-F]{{3}}|[dD][0-7][0-9a-fA-F]{{2}}|{_PAIR})"
#: Any string but one with a lone surrogate, which Polars decodes to a wrong character and Pydantic refuses.
ESCAPED: Final = rf'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|{_UNIT})*"'
#: As many digits as every double holds exactly.
_DOUBLE_DIGITS: Final = 15
_DATE: Final = r"-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_CLOCK: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
_ZONE: Final = r"(?:Z|[+-][01][0-9]:[0-5][0-9])"
_UUID: Final = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
#: A Literal or Enum of more values is looked up, not spelt out in the pattern.
_SPELT: Final = 40
_EXACT: Final = Context(prec=100)

Convert = Callable[[pl.Expr], pl.Expr]
Check = Callable[[pl.Expr, pl.Expr], pl.Expr]


class NotCompiled(Exception):  # noqa: N818 - says what is the case
    """Why a field is judged by the reference."""


@dataclass(frozen=True)
class Claim:
    """What is claimed of one value that is not null.

    Attributes:
        pattern: Regular expression of its JSON text.
        decode: The type in which Polars decodes it.
        convert: From what is decoded to the column's value; None where it is the value. Null where it cannot.
        check: What must hold of what is decoded and of the value besides; None where the pattern says all.
        typed: The type as which a CSV reader reads the text between the quotation marks, giving the value (or null
            where it is none); None where it must be converted.
    """

    pattern: str
    decode: pl.DataType
    convert: Convert | None = None
    check: Check | None = None
    typed: pl.DataType | None = None

    def value(self, decoded: pl.Expr) -> pl.Expr:
        """The column's value."""
        return decoded if self.convert is None else self.convert(decoded)


@dataclass(frozen=True)
class Site:
    """Where a value is met.

    Attributes:
        config: The `ConfigDict` of its model, as the core schema has it.
        seen: What values look like there.
        dtype: The type of the column, or of its part.
    """

    config: Mapping[str, Any]
    seen: Observed
    dtype: pl.DataType


def numeric(seen: Observed, bare: str | None, quoted: str | None, typed: pl.DataType | None) -> tuple[str, pl.DataType]:
    """The pattern and decode of a number that may come as a number or as text, as seen."""
    ways = []
    if "number" in seen.kinds and bare is not None:
        ways.append(bare)
    if "text" in seen.kinds and quoted is not None:
        ways.append(f'"{quoted}"')
    if not ways:
        raise NotCompiled("no number was seen")
    only_bare = len(ways) == 1 and ways[0] == bare
    decode = typed if only_bare and typed is not None else pl.String()
    return _any_of(ways), decode


def int_claim(node: Node, site: Site) -> Claim:
    """Whole numbers of at most 15 digits."""
    digits = _DOUBLE_DIGITS
    strict = _is_strict(node, site)
    pattern, decode = numeric(
        site.seen,
        rf"(?:0|-?[1-9][0-9]{{0,{digits - 1}}})",
        None if strict else rf"-?[0-9]{{1,{digits}}}",
        pl.Int64(),
    )
    convert: Convert | None = None if decode == pl.Int64() else (lambda e: e.cast(pl.Int64, strict=False))
    bounds = [(op, _whole(op, node[op])) for op in _BOUNDS if op in node]
    multiple = node.get("multiple_of")
    if multiple is not None and (type(multiple) is not int or multiple <= 0):
        raise NotCompiled(f"multiple_of {multiple!r}")

    def check(_: pl.Expr, value: pl.Expr) -> pl.Expr:
        holds = _all(_COMPARE[op](value, pl.lit(bound, dtype=pl.Int64)) for op, bound in bounds)
        return holds & (value % multiple == 0) if multiple is not None else holds

    return Claim(pattern, decode, convert, check if bounds or multiple is not None else None)


def float_claim(node: Node, site: Site) -> Claim:
    """Finite numbers without exponent, of at most 15 digits before the point."""
    if "multiple_of" in node:
        raise NotCompiled("multiple_of of a float")
    strict = _is_strict(node, site)
    # -0 is 0.0 for Pydantic, and -0.0 is -0.0.
    bare = r"(?:0|-?[1-9][0-9]{0,14}|-?(?:0|[1-9][0-9]{0,14})\.[0-9]{1,17})"
    quoted = None if strict else r"-?[0-9]{1,15}\.[0-9]{1,17}"
    pattern, decode = numeric(site.seen, bare, quoted, pl.Float64())
    convert: Convert | None = None if decode == pl.Float64() else (lambda e: e.cast(pl.Float64, strict=False))
    bounds = [(op, float(node[op])) for op in _BOUNDS if op in node]

    def check(_: pl.Expr, value: pl.Expr) -> pl.Expr:
        return _all([value.is_finite(), *(_COMPARE[op](value, pl.lit(bound)) for op, bound in bounds)])

    return Claim(pattern, decode, convert, check)


def decimal_claim(node: Node, site: Site) -> Claim:
    """Plain decimals that fit the column, digit by digit."""
    if node.get("multiple_of") is not None or node.get("allow_inf_nan"):
        raise NotCompiled("multiple_of or allow_inf_nan of a Decimal")
    if not isinstance(site.dtype, pl.Decimal):
        raise NotCompiled("the column is no Decimal")
    dtype = site.dtype
    digits, places = node.get("max_digits"), node.get("decimal_places")
    if digits is not None and (places is None or digits < places):
        raise NotCompiled("max_digits without as few decimal_places")
    scale = dtype.scale if places is None else min(places, dtype.scale)
    whole = (dtype.precision or 38) - dtype.scale
    if digits is not None and places is not None:
        whole = min(whole, digits - places)
    bounds = [(op, _on_grid(op, node[op], dtype)) for op in _BOUNDS if op in node]
    bare_whole = min(whole, _DOUBLE_DIGITS - scale)
    bare = None
    if bare_whole >= 1:
        bare = rf"-?(?:0|[1-9][0-9]{{0,{bare_whole - 1}}})" + _fraction(scale)
    elif whole == 0 and 0 < scale <= _DOUBLE_DIGITS:
        # Without whole digits, zero itself is one too many; as text, "0.0" is not.
        bare = r"-?0\.(?:" + "|".join(rf"0{{{n}}}[1-9][0-9]{{0,{scale - n - 1}}}" for n in range(scale)) + ")"
    if whole >= 1:
        quoted: str | None = rf"-?[0-9]{{1,{whole}}}" + _fraction(scale)
    else:
        quoted = rf"-?0?\.[0-9]{{1,{scale}}}" if scale else None
    pattern, decode = numeric(site.seen, bare, quoted, None)

    def convert(decoded: pl.Expr) -> pl.Expr:
        return decoded.cast(dtype, strict=False)

    return Claim(pattern, decode, convert, _within(bounds), dtype)


def bool_claim(node: Node, site: Site) -> Claim:
    """True and false themselves."""
    return Claim("(?:true|false)", pl.Boolean())


def str_claim(node: Node, site: Site) -> Claim:
    """Any string; stripped, measured and searched, then put into case."""
    config = site.config
    strip = node.get("strip_whitespace", config.get("str_strip_whitespace"))
    lower = node.get("to_lower", config.get("str_to_lower"))
    upper = node.get("to_upper", config.get("str_to_upper"))
    shortest = node.get("min_length", config.get("str_min_length"))
    longest = node.get("max_length", config.get("str_max_length"))
    pattern = node.get("pattern")
    if lower and upper:
        raise NotCompiled("to_lower and to_upper")
    if pattern is not None:
        if not isinstance(pattern, str) or config.get("regex_engine", "rust-regex") != "rust-regex":
            raise NotCompiled("a pattern of Python's re")
        _see_regex(pattern)

    def stripped(text: pl.Expr) -> pl.Expr:
        return text.str.strip_chars() if strip else text

    def convert(text: pl.Expr) -> pl.Expr:
        made = stripped(text)
        if lower:
            return made.str.to_lowercase()
        return made.str.to_uppercase() if upper else made

    def check(text: pl.Expr, _: pl.Expr) -> pl.Expr:
        made = stripped(text)
        checks = []
        if shortest:
            checks.append(made.str.len_chars() >= shortest)
        if longest is not None:
            checks.append(made.str.len_chars() <= longest)
        if pattern is not None:
            checks.append(made.str.contains(pattern))
        return _all(checks)

    checked = bool(shortest) or longest is not None or pattern is not None
    return Claim(ESCAPED, pl.String(), convert if strip or lower or upper else None, check if checked else None)


def choice_claim(values: Sequence[Any], site: Site) -> Claim:
    """A Literal or an Enum: its values as they are."""
    if any(site.config.get(key) for key in ("str_strip_whitespace", "str_to_lower", "str_to_upper")):
        raise NotCompiled("a choice among texts that the config changes")
    if values and all(type(v) is int for v in values):
        spelt = [str(v) for v in values if abs(v) < 10**_DOUBLE_DIGITS]
        if len(spelt) > _SPELT or not spelt:
            raise NotCompiled("a choice among many numbers")
        return Claim(_any_of([re.escape(one) for one in spelt]), pl.Int64())
    texts = [v.value if isinstance(v, enum.Enum) else v for v in values]
    if not texts or not all(isinstance(t, str) for t in texts) or not isinstance(site.dtype, pl.Enum):
        raise NotCompiled("a choice among values of several types")
    dtype = site.dtype
    plain = [t for t in texts if not re.search(r'["\\\x00-\x1f]', t)]

    def convert(text: pl.Expr) -> pl.Expr:
        return text.cast(dtype, strict=False)

    if plain and len(plain) <= _SPELT:
        return Claim(f'"{_any_of([escaped(t) for t in plain])}"', pl.String(), convert)
    return Claim(ESCAPED, pl.String(), convert)


def date_claim(node: Node, site: Site) -> Claim:
    """YYYY-MM-DD."""
    bounds = [(op, _same_kind(node[op], dt.date)) for op in _BOUNDS if op in node]
    _no_now(node)

    def convert(text: pl.Expr) -> pl.Expr:
        return text.str.to_date("%Y-%m-%d", strict=False)

    pattern = f'"[1-9][0-9]{{3}}{_DATE}"'
    return Claim(pattern, pl.String(), convert, _within([(op, pl.lit(b)) for op, b in bounds]), pl.Date())


def datetime_claim(node: Node, site: Site) -> Claim:
    """YYYY-MM-DDTHH:MM:SS with at most six digits of a second; aware or naive, as the column is."""
    _no_now(node)
    if node.get("microseconds_precision", "truncate") != "truncate":
        raise NotCompiled("microseconds_precision")
    if not isinstance(site.dtype, pl.Datetime):
        raise NotCompiled("the column is no Datetime")
    aware = site.dtype.time_zone is not None
    constraint = node.get("tz_constraint")
    if constraint not in (None, "aware" if aware else "naive"):
        raise NotCompiled("a time zone of its own")
    bounds = [(op, _same_kind(node[op], dt.datetime)) for op in _BOUNDS if op in node]
    if any((bound.tzinfo is not None) != aware for _, bound in bounds):
        raise NotCompiled("bounds that mix zones and none")
    # Years far from those in which an offset leads out of what a datetime holds.
    pattern = f'"[12][0-9]{{3}}{_DATE}T{_CLOCK}{_ZONE if aware else ""}"'

    def convert(text: pl.Expr) -> pl.Expr:
        if aware:
            return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False)
        return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)

    def literal(bound: dt.datetime) -> pl.Expr:
        if aware:
            return pl.lit(bound.astimezone(dt.UTC), dtype=pl.Datetime("us", "UTC"))
        return pl.lit(bound, dtype=pl.Datetime("us"))

    return Claim(pattern, pl.String(), convert, _within([(op, literal(b)) for op, b in bounds]))


def time_claim(node: Node, site: Site) -> Claim:
    """HH:MM:SS with at most six digits of a second, without zone."""
    if node.get("tz_constraint") == "aware" or node.get("microseconds_precision", "truncate") != "truncate":
        raise NotCompiled("a time with a zone")
    bounds = [(op, _same_kind(node[op], dt.time)) for op in _BOUNDS if op in node]
    if any(bound.tzinfo is not None for _, bound in bounds):
        raise NotCompiled("a time with a zone")

    def convert(text: pl.Expr) -> pl.Expr:
        return text.str.to_time("%H:%M:%S%.f", strict=False)

    return Claim(f'"{_CLOCK}"', pl.String(), convert, _within([(op, pl.lit(b)) for op, b in bounds]))


def uuid_claim(node: Node, site: Site) -> Claim:
    """The form with hyphens."""
    if node.get("version") is not None:
        raise NotCompiled("a version of UUID")
    return Claim(f'"{_UUID}"', pl.String(), lambda text: text.str.to_lowercase())


_BOUNDS: Final = ("gt", "ge", "lt", "le")
_COMPARE: Final[Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}


def _within(bounds: Sequence[tuple[str, pl.Expr]]) -> Check | None:
    """That the value lies within bounds."""
    if not bounds:
        return None
    return lambda _, value: _all(_COMPARE[op](value, bound) for op, bound in bounds)


def _all(checks: Any) -> pl.Expr:
    made: pl.Expr | None = None
    for check in checks:
        made = check if made is None else made & check
    return pl.lit(value=True) if made is None else made


def _any_of(ways: Sequence[str]) -> str:
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"


def escaped(text: str) -> str:
    """A text for Rust's regular expressions."""
    return re.sub(r"([\\.+*?()|\[\]{}^$#&\-~])", r"\\\1", text)


def _fraction(scale: int) -> str:
    return rf"(?:\.[0-9]{{1,{scale}}})?" if scale else ""


def _is_strict(node: Node, site: Site) -> bool:
    return bool(node.get("strict", site.config.get("strict")))


def _whole(op: str, bound: Any) -> int:
    """A bound of whole numbers, cut to what 64 bits hold: no claimed value lies beyond."""
    if type(bound) is not int:
        raise NotCompiled(f"the bound {op}={bound!r}")
    return max(-(2**62), min(bound, 2**62))


def _on_grid(op: str, bound: Any, dtype: pl.Decimal) -> pl.Expr:
    """A bound of decimals among the numbers that the column holds: it separates them as the bound itself does."""
    if type(bound) not in (int, Decimal) or not Decimal(bound).is_finite():
        raise NotCompiled(f"the bound {op}={bound!r}")
    precision, scale = dtype.precision or 38, dtype.scale
    rounding = ROUND_CEILING if op in ("ge", "lt") else ROUND_FLOOR
    limit = Decimal(10) ** (precision - scale)
    if abs(Decimal(bound)) >= limit:
        raise NotCompiled(f"the bound {op}={bound!r}, beyond the column")
    cut = Decimal(bound).quantize(Decimal(1).scaleb(-scale), rounding=rounding, context=_EXACT)
    if abs(cut) >= limit:
        raise NotCompiled(f"the bound {op}={bound!r}, beyond the column")
    return pl.lit(cut, dtype=pl.Decimal(precision, scale))


def _same_kind(bound: Any, kind: type) -> Any:
    if type(bound) is not kind:
        raise NotCompiled(f"the bound {bound!r}")
    return bound


def _no_now(node: Node) -> None:
    if node.get("now_op") is not None or node.get("now_utc_offset") is not None:
        raise NotCompiled("compared with the present")


def _see_regex(pattern: str) -> None:
    try:
        pl.select(pl.lit("").str.contains(pattern))
    except pl.exceptions.PolarsError:
        raise NotCompiled("a pattern that Polars cannot search for") from None
