"""Claims: for the text of one value, a pattern, a conversion and a check that together leave Pydantic no choice.

Where the text matches the pattern, the conversion gives a value, and the check is true of it, Pydantic accepts it, with
this value. Nothing is claimed of other values: they go to the reference. Each claim is modest on purpose; tests hold it
against Pydantic.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any, Final

import polars as pl

from assay.records.direct import Direct, choices, dates, decimals, whole_numbers

Node = Mapping[str, Any]

#: Any text: what JSON allows between quotation marks is proven elsewhere.
ANY_TEXT: Final = ""
#: As many digits as every double holds exactly.
_DOUBLE_DIGITS: Final = 15
_DATE: Final = r"-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_CLOCK: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
_ZONE: Final = r"(?:Z|[+-][01][0-9]:[0-5][0-9])"
_UUID: Final = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
#: A choice among more numbers than these is not spelt out in a pattern.
_SPELT: Final = 40
#: The texts that Pydantic takes for true and for false, in any case.
_TRUE: Final = ("1", "t", "y", "yes", "on", "true")
_FALSE: Final = ("0", "f", "n", "no", "off", "false")
_EXACT: Final = Context(prec=100)

Convert = Callable[[pl.Expr], pl.Expr]
Check = Callable[[pl.Expr, pl.Expr], pl.Expr]


class NotCompiled(Exception):  # noqa: N818 - says what is the case
    """Why a field is judged by the reference."""


@dataclass(frozen=True)
class Claim:
    """What is claimed of one value that is not null.

    Attributes:
        bare: Regular expression of its text where it is a number, true or false; None where nothing is claimed then.
        quoted: Regular expression of its text where it is a string, without the quotation marks and with no escapes
            left, or text of XML or CSV; None where nothing is claimed then, `ANY_TEXT` where it may be any.
        convert: From the text to the column's value; None where it is the value. Null where it cannot.
        check: What must hold of the text and of the value besides; None where the pattern says all.
        direct: How most such values are read without making texts of them; None where there is no such way.
    """

    bare: str | None
    quoted: str | None
    convert: Convert | None = None
    check: Check | None = None
    direct: Direct | None = None

    def value(self, text: pl.Expr) -> pl.Expr:
        """The column's value."""
        return text if self.convert is None else self.convert(text)


@dataclass(frozen=True)
class Site:
    """Where a value is met.

    Attributes:
        config: The `ConfigDict` of its model, as the core schema has it.
        dtype: The type of the column, or of its part.
    """

    config: Mapping[str, Any]
    dtype: pl.DataType


def int_claim(node: Node, site: Site) -> Claim:
    """Whole numbers of at most 15 digits."""
    digits = _DOUBLE_DIGITS
    bounds = [(op, _whole(op, node[op])) for op in _BOUNDS if op in node]
    multiple = node.get("multiple_of")
    if multiple is not None and (type(multiple) is not int or multiple <= 0):
        raise NotCompiled(f"multiple_of {multiple!r}")

    def check(_: pl.Expr, value: pl.Expr) -> pl.Expr:
        holds = _all(_COMPARE[op](value, pl.lit(bound, dtype=pl.Int64)) for op, bound in bounds)
        return holds & (value % multiple == 0) if multiple is not None else holds

    return Claim(
        rf"^(?:0|-?[1-9][0-9]{{0,{digits - 1}}})$",
        None if _is_strict(node, site) else rf"^-?[0-9]{{1,{digits}}}$",
        lambda text: text.cast(pl.Int64, strict=False),
        check if bounds or multiple is not None else None,
        whole_numbers(digits, quoted=not _is_strict(node, site), bounds=bounds, multiple=multiple),
    )


def float_claim(node: Node, site: Site) -> Claim:
    """Finite numbers without exponent, of at most 15 digits before the point."""
    if "multiple_of" in node:
        raise NotCompiled("multiple_of of a float")
    bounds = [(op, float(node[op])) for op in _BOUNDS if op in node]

    def check(_: pl.Expr, value: pl.Expr) -> pl.Expr:
        return _all([value.is_finite(), *(_COMPARE[op](value, pl.lit(bound)) for op, bound in bounds)])

    return Claim(
        # -0 is 0.0 for Pydantic, and -0.0 is -0.0.
        r"^(?:0|-?[1-9][0-9]{0,14}|-?(?:0|[1-9][0-9]{0,14})\.[0-9]{1,17})$",
        None if _is_strict(node, site) else r"^-?[0-9]{1,15}\.[0-9]{1,17}$",
        lambda text: text.cast(pl.Float64, strict=False),
        check,
    )


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
    cuts = [(op, _on_grid(op, node[op], dtype)) for op in _BOUNDS if op in node]
    bounds = [(op, pl.lit(cut, dtype=pl.Decimal(dtype.precision or 38, dtype.scale))) for op, cut in cuts]
    bare_whole = min(whole, _DOUBLE_DIGITS - scale)
    bare = None
    if bare_whole >= 1:
        bare = rf"^-?(?:0|[1-9][0-9]{{0,{bare_whole - 1}}})" + _fraction(scale) + "$"
    elif whole == 0 and 0 < scale <= _DOUBLE_DIGITS:
        # Zero needs a whole digit, of which there is none here.
        ways = [rf"0{{{zeros}}}[1-9][0-9]{{0,{scale - zeros - 1}}}" for zeros in range(scale)]
        bare = rf"^-?0\.(?:{'|'.join(ways)})$"
    if whole >= 1:
        quoted: str | None = rf"^-?[0-9]{{1,{whole}}}" + _fraction(scale) + "$"
    else:
        quoted = rf"^-?0?\.[0-9]{{1,{scale}}}$" if scale else None
    direct = None
    if whole >= 1:
        direct = decimals(dtype, whole, scale, bare_whole, quoted=quoted is not None, bounds=cuts)
    return Claim(bare, quoted, lambda text: text.cast(dtype, strict=False), _within(bounds), direct)


def bool_claim(node: Node, site: Site) -> Claim:
    """True and false themselves; of texts the words that Pydantic takes for them."""

    def convert(text: pl.Expr) -> pl.Expr:
        word = text.str.to_lowercase()
        return pl.when(word.is_in(_TRUE)).then(statement=True).when(word.is_in(_FALSE)).then(statement=False)

    return Claim("^(?:true|false)$", None if _is_strict(node, site) else ANY_TEXT, convert)


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
    return Claim(None, ANY_TEXT, convert if strip or lower or upper else None, check if checked else None)


def choice_claim(values: Sequence[Any], site: Site) -> Claim:
    """A Literal or an Enum: its values as they are."""
    if any(site.config.get(key) for key in ("str_strip_whitespace", "str_to_lower", "str_to_upper")):
        raise NotCompiled("a choice among texts that the config changes")
    if values and all(type(v) is int for v in values):
        spelt = [str(v) for v in values if abs(v) < 10**_DOUBLE_DIGITS]
        if len(spelt) > _SPELT or not spelt:
            raise NotCompiled("a choice among many numbers")
        return Claim(f"^(?:{'|'.join(spelt)})$", None, lambda text: text.cast(pl.Int64, strict=False))
    texts = [v.value if isinstance(v, enum.Enum) else v for v in values]
    if not texts or not all(isinstance(t, str) for t in texts) or not isinstance(site.dtype, pl.Enum):
        raise NotCompiled("a choice among values of several types")
    dtype = site.dtype
    return Claim(None, ANY_TEXT, lambda text: text.cast(dtype, strict=False), direct=choices(texts, dtype))


def date_claim(node: Node, site: Site) -> Claim:
    """YYYY-MM-DD."""
    bounds = [(op, _same_kind(node[op], dt.date)) for op in _BOUNDS if op in node]
    _no_now(node)

    def convert(text: pl.Expr) -> pl.Expr:
        return text.str.to_date("%Y-%m-%d", strict=False)

    return Claim(
        None, f"^[1-9][0-9]{{3}}{_DATE}$", convert, _within([(op, pl.lit(b)) for op, b in bounds]), dates(bounds)
    )


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
    pattern = f"^[12][0-9]{{3}}{_DATE}T{_CLOCK}{_ZONE if aware else ''}$"

    def convert(text: pl.Expr) -> pl.Expr:
        if aware:
            return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False)
        return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)

    def literal(bound: dt.datetime) -> pl.Expr:
        if aware:
            return pl.lit(bound.astimezone(dt.UTC), dtype=pl.Datetime("us", "UTC"))
        return pl.lit(bound, dtype=pl.Datetime("us"))

    return Claim(None, pattern, convert, _within([(op, literal(b)) for op, b in bounds]))


def time_claim(node: Node, site: Site) -> Claim:
    """HH:MM:SS with at most six digits of a second, without zone."""
    if node.get("tz_constraint") == "aware" or node.get("microseconds_precision", "truncate") != "truncate":
        raise NotCompiled("a time with a zone")
    bounds = [(op, _same_kind(node[op], dt.time)) for op in _BOUNDS if op in node]
    if any(bound.tzinfo is not None for _, bound in bounds):
        raise NotCompiled("a time with a zone")

    def convert(text: pl.Expr) -> pl.Expr:
        return text.str.to_time("%H:%M:%S%.f", strict=False)

    return Claim(None, f"^{_CLOCK}$", convert, _within([(op, pl.lit(b)) for op, b in bounds]))


def uuid_claim(node: Node, site: Site) -> Claim:
    """The form with hyphens."""
    if node.get("version") is not None:
        raise NotCompiled("a version of UUID")
    return Claim(None, f"^{_UUID}$", lambda text: text.str.to_lowercase())


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


def _fraction(scale: int) -> str:
    return rf"(?:\.[0-9]{{1,{scale}}})?" if scale else ""


def _is_strict(node: Node, site: Site) -> bool:
    return bool(node.get("strict", site.config.get("strict")))


def _whole(op: str, bound: Any) -> int:
    """A bound of whole numbers, cut to what 64 bits hold: no claimed value lies beyond."""
    if type(bound) is not int:
        raise NotCompiled(f"the bound {op}={bound!r}")
    return max(-(2**62), min(bound, 2**62))


def _on_grid(op: str, bound: Any, dtype: pl.Decimal) -> Decimal:
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
    return cut


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


_LEAVES: Final[Mapping[str, Callable[[Node, Site], Claim]]] = {
    "int": int_claim,
    "float": float_claim,
    "decimal": decimal_claim,
    "bool": bool_claim,
    "str": str_claim,
    "date": date_claim,
    "datetime": datetime_claim,
    "time": time_claim,
    "uuid": uuid_claim,
    "literal": lambda node, site: choice_claim(_values_of(node["expected"]), site),
    "enum": lambda node, site: choice_claim([m.value for m in node["members"]], site),
}


def _values_of(expected: Sequence[Any]) -> Sequence[Any]:
    """The values of a Literal: a member of an Enum is only that where it is a text or a number itself."""
    if any(isinstance(one, enum.Enum) and not isinstance(one, str | int) for one in expected):
        raise NotCompiled("a Literal of members of an Enum")
    return expected


def claim_for(node: Node, site: Site) -> Claim:
    """What is claimed of a single value of this node of the core schema.

    Raises:
        NotCompiled: nothing is.
    """
    claim = _LEAVES.get(node["type"])
    if claim is None:
        raise NotCompiled(f"{node['type']} is judged by the reference")
    return claim(node, site)
