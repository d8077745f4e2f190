"""Rejects: what is kept of a record that did not pass.

A frame of rejects has the columns `source, record, line, offset, stage, errors, raw`; `errors` is a list of structs
`loc, type, msg, input`, worded as Pydantic words them; `raw` is the record's bytes, enough to replay it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import polars as pl
import pydantic_core

from assay.errors import ValidationError
from assay.reading.raw import RawRecord

#: Where a record was rejected.
Stage = Literal["read", "validate", "represent", "lookup", "pricing", "check", "document"]

ERRORS: Final = pl.List(pl.Struct({"loc": pl.String, "type": pl.String, "msg": pl.String, "input": pl.String}))
REJECTS: Final = pl.Schema(
    {
        "source": pl.String(),
        "record": pl.Int64(),
        "line": pl.Int64(),
        "offset": pl.Int64(),
        "stage": pl.String(),
        "errors": ERRORS,
        "raw": pl.Binary(),
    }
)


@dataclass(frozen=True, slots=True)
class Reject:
    """One rejected record."""

    source: str
    raw: RawRecord
    stage: Stage
    errors: list[dict[str, str]]

    def row(self) -> tuple[Any, ...]:
        """As a row of the frame of rejects."""
        raw = self.raw
        return (self.source, raw.record, raw.line, raw.offset, self.stage, self.errors, raw.data)


def rejects_frame(rejects: Sequence[Reject]) -> pl.DataFrame:
    """The frame of rejects."""
    return pl.DataFrame([reject.row() for reject in rejects], schema=REJECTS, orient="row")


def worded(
    loc: Iterable[str | int], kind: str, msg: str, value: object = None, *, max_input: int = 1_000
) -> dict[str, str]:
    """One error as it is kept: the place joined by dots, the value as text (JSON where it is no string)."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bytes):
        text = value[: 4 * max_input].decode("utf-8", "backslashreplace")
    else:
        text = _as_json(value)
    if len(text) > max_input:
        text = text[:max_input] + "…"
    return {"loc": ".".join(map(str, loc)), "type": kind, "msg": _sound(msg), "input": _sound(text)}


def _as_json(value: object) -> str:
    try:
        return pydantic_core.to_json(value, inf_nan_mode="constants", serialize_unknown=True).decode()
    except ValueError:
        return repr(value)


def _sound(text: str) -> str:
    """Text that can be encoded: a lone surrogate is escaped."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def jsonl_line(row: Mapping[str, Any]) -> str:
    """A reject as a line of JSON: raw bytes as text, or in Base64 where they are no UTF-8."""
    return pydantic_core.to_json(_with_text(row)).decode() + "\n"


def _with_text(row: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(row)
    raw: bytes = made.pop("raw")
    try:
        made["raw"] = raw.decode()
    except UnicodeDecodeError:
        made["raw_base64"] = base64.b64encode(raw).decode()
    return made


def first_reject(rejects: pl.DataFrame) -> ValidationError:
    """The error that names the first reject and says how to collect them."""
    advice = 'give rejects="rejects.parquet" or a function; rejects="drop" lets them fall'
    return reject_error(rejects, f"{{}}. To go on and keep bad records, {advice}")


def reject_error(rejects: pl.DataFrame, message: str, kind: type[ValidationError] = ValidationError) -> ValidationError:
    """An error about the first reject, which is put into the message where it has {}."""
    row = rejects.row(0, named=True)
    errors: list[dict[str, Any]] = row["errors"]
    first = errors[0]
    field = f"{first['loc']}: " if first["loc"] else ""
    more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
    place = f"{row['source']}: record {row['record']} (line {row['line']}): "
    what = f"{field}{first['msg']} [{first['type']}], got {first['input'][:100]!r}{more}"
    return kind(
        message.replace("{}", place + what),
        source=row["source"],
        record=row["record"],
        line=row["line"],
        errors=errors,
    )
