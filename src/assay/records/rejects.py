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

_ERROR: Final = {"loc": pl.String, "type": pl.String, "msg": pl.String, "input": pl.String}
ERRORS: Final = pl.List(pl.Struct(_ERROR))
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


def rejects_frame(rejects: Sequence[Reject]) -> pl.DataFrame:
    """The frame of rejects."""
    if not rejects:
        return pl.DataFrame(schema=REJECTS)
    raws = [reject.raw for reject in rejects]
    columns = {
        "source": [reject.source for reject in rejects],
        "record": [raw.record for raw in raws],
        "line": [raw.line for raw in raws],
        "offset": [raw.offset for raw in raws],
        "stage": [reject.stage for reject in rejects],
        "errors": _errors([reject.errors for reject in rejects]),
        "raw": [raw.data for raw in raws],
    }
    return pl.DataFrame(columns, schema=REJECTS)


def _errors(several: Sequence[list[dict[str, str]]]) -> pl.Series:
    """A list of errors for each of some rejects; by columns, which is quicker than from dictionaries."""
    if not all(several):
        return pl.Series(several, dtype=ERRORS)
    together = [error for errors in several for error in errors]
    texts = {name: [error.get(name) for error in together] for name in _ERROR}
    structs = pl.DataFrame(texts, schema=_ERROR).to_struct()
    if len(together) == len(several):
        return structs.reshape((-1, 1)).arr.to_list()
    owner = [number for number, errors in enumerate(several) for _ in errors]
    return (
        pl.DataFrame({"owner": owner, "errors": structs}).group_by("owner", maintain_order=True).agg("errors")["errors"]
    )


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
