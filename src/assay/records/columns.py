"""From a Pydantic model to Polars columns: the type of each, and how a Python value is put into it.

Walks the model's core schema, so that aliases, Annotated and generics are resolved already. A value that Pydantic
accepts and the column cannot hold raises `Unrepresentable`; no value is ever changed to fit.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

import polars as pl
import pydantic_core
from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.networks import _BaseMultiHostUrl, _BaseUrl  # there is no public class of all

from assay.errors import ConfigurationError

Node = Mapping[str, Any]
Datetimes = Literal["naive", "utc"]

_MIN_INT64: Final = -(2**63)
_MAX_INT64: Final = 2**63 - 1
_PRECISION: Final = 38
_EPOCH: Final = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - for naive values
_EPOCH_UTC: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_FIRST: Final = (dt.datetime.min.replace(tzinfo=dt.UTC) - _EPOCH_UTC) // _MICROSECOND
_LAST: Final = (dt.datetime.max.replace(tzinfo=dt.UTC) - _EPOCH_UTC) // _MICROSECOND
_WRAPPERS: Final = frozenset(
    {"default", "nullable", "function-before", "function-after", "function-wrap", "definitions", "model-field"}
)


class Unrepresentable(Exception):  # noqa: N818 - says what the value is
    """A value that the column cannot hold.

    Attributes:
        path: Where it is inside the field.
    """

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.message, self.path = message, path


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        dtype: Its Polars type.
        wire: The type in which Python values are handed over; cast to `dtype` afterwards, without loss.
        encode: From Pydantic's value (never None) to the wire; None where it is the value itself.
    """

    dtype: pl.DataType
    wire: pl.DataType
    encode: Callable[[Any], Any] | None = None

    def put(self, value: Any) -> Any:
        """A value, or None, as the wire takes it."""
        return value if value is None or self.encode is None else self.encode(value)

    def series(self, name: str, values: Sequence[Any]) -> pl.Series:
        """A Series of encoded values."""
        made = pl.Series(name, values, dtype=self.wire, strict=True)
        return made if self.wire == self.dtype else made.cast(self.dtype)


class Columns:
    """The columns of a model, its fields in order.

    Args:
        model: Any Pydantic v2 model.
        decimals: Precision and scale for Decimal fields whose digits the model does not bound.
        datetimes: Whether a plain `datetime` field is a column without zone or in UTC; values of the other kind are
            rejects. (`AwareDatetime` is UTC and `NaiveDatetime` without zone, whatever this says.)

    Raises:
        ConfigurationError: a Decimal without bounds and no `decimals`.
    """

    def __init__(
        self, model: type[BaseModel], *, decimals: tuple[int, int] | None = None, datetimes: Datetimes = "naive"
    ) -> None:
        self.model = model
        if datetimes not in ("naive", "utc"):
            raise ConfigurationError(f'datetimes is "naive" or "utc", not {datetimes!r}')
        if decimals is not None and not _are_digits(decimals):
            raise ConfigurationError(f"decimals is (digits, places), at most (38, 38), not {decimals!r}")
        if not model.__pydantic_complete__:
            model.model_rebuild()
        compiler = self._compiler = _Compiler(decimals, datetimes)
        self.by_name = compiler.model_columns(model.__pydantic_core_schema__, model.__name__)
        if not self.by_name:
            raise ConfigurationError("has no fields, so there is no column", where=model.__name__)

    def column_of(self, node: Node, where: str) -> Column:
        """The column of a part of the model's core schema."""
        return self._compiler.column(node, where)

    @property
    def schema(self) -> pl.Schema:
        """Polars schema, one column a field."""
        return pl.Schema({name: column.dtype for name, column in self.by_name.items()})

    def frame(self, instances: Sequence[BaseModel]) -> tuple[pl.DataFrame, dict[int, list[Misfit]]]:
        """Put accepted instances into columns.

        Returns:
            The frame of those that fit, and for each of the others (by index) the fields that do not.
        """
        misfits: dict[int, list[Misfit]] = {}
        rows = []
        for index, instance in enumerate(instances):
            if isinstance(instance, self.model):
                rows.append(instance.__dict__)
            else:
                message = f"a validator made a {type(instance).__name__} of the record"
                misfits[index] = [Misfit((), message, instance)]
                rows.append(dict.fromkeys(self.by_name))
        encoded: dict[str, list[Any]] = {}
        for name, column in self.by_name.items():
            values = [row[name] for row in rows]
            encode = column.encode
            if encode is not None:
                try:
                    values = [v if v is None else encode(v) for v in values]
                except Unrepresentable:
                    values = _encode_singly(name, column, values, misfits)
            encoded[name] = values
        series = {}
        for name, column in self.by_name.items():
            try:
                series[name] = column.series(name, encoded[name])
            except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
                # A default that is not validated may be of any type, also deep inside.
                encoded[name] = _fitting_singly(name, column, encoded[name], misfits)
        if misfits:
            keep = [i for i in range(len(rows)) if i not in misfits]
            encoded = {name: [values[i] for i in keep] for name, values in encoded.items()}
            series = {}
        for name, column in self.by_name.items():
            if name not in series:
                series[name] = column.series(name, encoded[name])
        return pl.DataFrame([series[name] for name in self.by_name]), misfits


def _are_digits(decimals: Any) -> bool:
    if not isinstance(decimals, tuple | list) or len(decimals) != 2 or any(type(n) is not int for n in decimals):
        return False
    return bool(1 <= decimals[0] <= _PRECISION and 0 <= decimals[1] <= decimals[0])


@dataclass(frozen=True)
class Misfit:
    """One field of an accepted record that its column cannot hold."""

    loc: tuple[str | int, ...]
    msg: str
    value: Any


def _encode_singly(name: str, column: Column, values: list[Any], misfits: dict[int, list[Misfit]]) -> list[Any]:
    encoded = []
    for index, value in enumerate(values):
        try:
            encoded.append(column.put(value))
        except Unrepresentable as error:
            misfits.setdefault(index, []).append(Misfit((name, *error.path), error.message, value))
            encoded.append(None)
    return encoded


def _fitting_singly(name: str, column: Column, values: list[Any], misfits: dict[int, list[Misfit]]) -> list[Any]:
    """Values of which some make no column; these become None, and misfits."""
    kept: list[Any] = []
    for index, value in enumerate(values):
        try:
            column.series(name, [value])
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            message = f"a {type(value).__name__} that was not validated; the column holds {column.dtype}"
            misfits.setdefault(index, []).append(Misfit((name,), message, value))
            kept.append(None)
        else:
            kept.append(value)
    return kept


class _Compiler:
    def __init__(self, decimals: tuple[int, int] | None, datetimes: Datetimes) -> None:
        self._decimals = decimals
        self._datetimes = datetimes
        self._definitions: dict[str, Node] = {}
        self._open: list[str] = []

    def model_columns(self, node: Node, where: str) -> dict[str, Column]:
        # What sees the whole model may set any field to anything.
        strays = False
        while node["type"] != "model":
            strays = strays or node["type"].startswith("function-")
            self._note_definitions(node)
            node = self._inner(node)
        strays = strays or bool(node.get("post_init"))
        fields = node["schema"]
        while fields["type"] != "model-fields":
            if node.get("root_model"):
                return {"root": self.column(fields, f"{where}.root")}
            fields = self._inner(fields)
        made = {name: self.column(field, f"{where}.{name}") for name, field in fields["fields"].items()}
        return {name: _checked(column) for name, column in made.items()} if strays else made

    def column(self, node: Node, where: str) -> Column:
        kind = node["type"]
        self._note_definitions(node)
        if kind in _WRAPPERS:
            inner = self.column(node["schema"], where)
            # A default is not validated.
            strays = kind.startswith("function-") or (kind == "default" and node.get("default") is not None)
            return _checked(inner) if strays else inner
        if kind == "definition-ref":
            ref = node["schema_ref"]
            if ref in self._open or ref not in self._definitions:
                return _JSON_TEXT
            self._open.append(ref)
            made = self.column(self._definitions[ref], where)
            self._open.pop()
            return made
        if kind == "json-or-python":
            return self.column(node["json_schema"], where)
        method = getattr(self, "_" + kind.replace("-", "_"), None)
        return method(node, where) if method else _JSON_TEXT

    def _note_definitions(self, node: Node) -> None:
        if node["type"] == "definitions":
            self._definitions.update({d["ref"]: d for d in node["definitions"]})

    def _inner(self, node: Node) -> Node:
        if node["type"] == "definition-ref":
            return self._definitions[node["schema_ref"]]
        inner: Node = node["schema"]
        return inner

    def _bool(self, node: Node, where: str) -> Column:
        return _plain(pl.Boolean())

    def _int(self, node: Node, where: str) -> Column:
        return Column(pl.Int64(), pl.Int64(), _encode_int)

    def _float(self, node: Node, where: str) -> Column:
        return _plain(pl.Float64())

    def _str(self, node: Node, where: str) -> Column:
        return _plain(pl.String())

    def _bytes(self, node: Node, where: str) -> Column:
        return _plain(pl.Binary())

    def _decimal(self, node: Node, where: str) -> Column:
        digits, places = node.get("max_digits"), node.get("decimal_places")
        if digits is not None and places is not None:
            precision, scale = max(digits, places), places
        elif places is not None:
            precision, scale = _PRECISION, places
        elif digits is not None and 2 * digits <= _PRECISION:
            precision, scale = 2 * digits, digits
        elif self._decimals is not None:
            precision, scale = self._decimals
        else:
            raise ConfigurationError(
                "this Decimal has no bound on its digits; give the field max_digits and decimal_places, or say "
                "decimals=(38, s) with s places for all such fields",
                where=where,
            )
        if precision > _PRECISION and self._decimals is not None:
            precision, scale = self._decimals
        if precision > _PRECISION or scale > precision:
            raise ConfigurationError(
                f"a column holds {_PRECISION} digits, not {precision} with {scale} places; say decimals=(38, s)",
                where=where,
            )
        return Column(pl.Decimal(precision, scale), pl.String(), _decimal_encoder(precision, scale))

    def _date(self, node: Node, where: str) -> Column:
        return _plain(pl.Date())

    def _time(self, node: Node, where: str) -> Column:
        return Column(pl.Time(), pl.Time(), _encode_time)

    def _timedelta(self, node: Node, where: str) -> Column:
        return Column(pl.Duration("us"), pl.Int64(), lambda v: _encode_int(v // _MICROSECOND))

    def _datetime(self, node: Node, where: str) -> Column:
        constraint = node.get("tz_constraint")
        bounds = [node[key] for key in ("gt", "ge", "lt", "le") if key in node]
        aware = self._datetimes == "utc" or any(bound.tzinfo for bound in bounds)
        if constraint is not None:
            aware = constraint != "naive"
        if aware:
            return Column(pl.Datetime("us", "UTC"), pl.Int64(), _encode_aware)
        return Column(pl.Datetime("us"), pl.Int64(), _encode_naive)

    def _uuid(self, node: Node, where: str) -> Column:
        return Column(pl.String(), pl.String(), _encode_uuid)

    def _url(self, node: Node, where: str) -> Column:
        return Column(pl.String(), pl.String(), _encode_url)

    _multi_host_url = _url

    def _literal(self, node: Node, where: str) -> Column:
        return _choice([m.value if isinstance(m, enum.Enum) else m for m in node["expected"]])

    def _enum(self, node: Node, where: str) -> Column:
        return _choice([member.value for member in node["members"]])

    def _list(self, node: Node, where: str) -> Column:
        return _list_of(self.column(node["items_schema"], where) if "items_schema" in node else _JSON_TEXT)

    _set = _frozenset = _generator = _list

    def _tuple(self, node: Node, where: str) -> Column:
        if node.get("variadic_item_index") == 0 and len(node["items_schema"]) == 1:
            return _list_of(self.column(node["items_schema"][0], where))
        return _JSON_TEXT

    def _dict(self, node: Node, where: str) -> Column:
        key = self.column(node["keys_schema"], where) if "keys_schema" in node else _JSON_TEXT
        value = self.column(node["values_schema"], where) if "values_schema" in node else _JSON_TEXT

        def encode(mapping: Mapping[Any, Any]) -> list[dict[str, Any]]:
            return [{"key": key.put(k), "value": value.put(v)} for k, v in mapping.items()]

        def struct(kind: Literal["dtype", "wire"]) -> pl.DataType:
            return pl.List(pl.Struct({"key": getattr(key, kind), "value": getattr(value, kind)}))

        return Column(struct("dtype"), struct("wire"), encode)

    def _model(self, node: Node, where: str) -> Column:
        if node.get("root_model"):
            inner = self.column(node["schema"], where)
            return replace(inner, encode=lambda value: inner.put(value.root))
        return _struct(self.model_columns(node, where), lambda value: value.__dict__)

    def _dataclass(self, node: Node, where: str) -> Column:
        fields = node["schema"]
        while fields["type"] != "dataclass-args":
            fields = self._inner(fields)
        columns = {f["name"]: self.column(f["schema"], f"{where}.{f['name']}") for f in fields["fields"]}
        return _struct(columns, lambda value: {name: getattr(value, name) for name in columns})

    def _typed_dict(self, node: Node, where: str) -> Column:
        columns = {name: self.column(f["schema"], f"{where}.{name}") for name, f in node["fields"].items()}
        return _struct(columns, lambda value: value)

    def _union(self, node: Node, where: str) -> Column:
        choices = [choice[0] if isinstance(choice, tuple) else choice for choice in node["choices"]]
        return self._one_of([self.column(c, where) for c in choices if c["type"] != "none"])

    def _tagged_union(self, node: Node, where: str) -> Column:
        return self._one_of([self.column(choice, where) for choice in node["choices"].values()])

    def _one_of(self, columns: Iterable[Column]) -> Column:
        """One type for all members, or JSON text: a column cannot tell 1 from "1" otherwise."""
        columns = list(columns)
        first = columns[0]
        simple = all(column.encode is None and column.dtype == first.dtype for column in columns)
        return first if simple else _JSON_TEXT


_URLS: Final = (pydantic_core.Url, pydantic_core.MultiHostUrl, _BaseUrl, _BaseMultiHostUrl)


def _plain(dtype: pl.DataType) -> Column:
    return Column(dtype, dtype)


def _list_of(item: Column) -> Column:
    def encode(values: Iterable[Any]) -> list[Any]:
        if isinstance(values, set | frozenset):
            values = sorted(values, key=repr)
        encoded = []
        for index, value in enumerate(values):
            try:
                encoded.append(item.put(value))
            except Unrepresentable as error:
                raise Unrepresentable(error.message, (index, *error.path)) from None
        return encoded

    return Column(pl.List(item.dtype), pl.List(item.wire), encode)


def _struct(columns: Mapping[str, Column], fields: Callable[[Any], Mapping[str, Any]]) -> Column:
    if not columns:
        return _JSON_TEXT

    def encode(value: Any) -> dict[str, Any]:
        row = fields(value)
        made = {}
        for name, column in columns.items():
            try:
                made[name] = column.put(row.get(name))
            except Unrepresentable as error:
                raise Unrepresentable(error.message, (name, *error.path)) from None
        return made

    return Column(
        pl.Struct({name: column.dtype for name, column in columns.items()}),
        pl.Struct({name: column.wire for name, column in columns.items()}),
        encode,
    )


def _choice(values: list[Any]) -> Column:
    """The column of a Literal or Enum: by the type of its values."""

    def value_of(member: Any) -> Any:
        return member.value if isinstance(member, enum.Enum) else member

    if values and all(type(v) is str or (isinstance(v, str) and isinstance(v, enum.Enum)) for v in values):
        texts = list(dict.fromkeys(map(str, values)))
        known = frozenset(texts)

        def encode_member(member: Any) -> str:
            text = str(value_of(member))
            if text not in known:
                raise Unrepresentable(f"{text!r} is none of the values that the column holds")
            return text

        return Column(pl.Enum(texts), pl.String(), encode_member)
    if values and all(type(v) is bool for v in values):
        return Column(pl.Boolean(), pl.Boolean(), value_of)
    if values and all(type(v) is int and _MIN_INT64 <= v <= _MAX_INT64 for v in values):
        return Column(pl.Int64(), pl.Int64(), value_of)
    return Column(pl.String(), pl.String(), lambda v: _encode_json(value_of(v)))


_PYTHON: Final[dict[type[pl.DataType], tuple[type, ...]]] = {
    pl.Boolean: (bool,),
    pl.Int64: (int,),
    pl.Float64: (float, int),
    pl.String: (str,),
    pl.Binary: (bytes,),
    pl.Date: (dt.date,),
    pl.List: (list, tuple, set, frozenset),
    pl.Struct: (object,),
}


def _checked(column: Column) -> Column:
    """For a value that a validator function may have replaced by one of another type."""

    def encode(value: Any) -> Any:
        expected = _PYTHON.get(type(column.dtype))
        wrong_kind = column.encode is None and expected is not None and not isinstance(value, expected)
        if wrong_kind or (isinstance(column.dtype, pl.Date) and isinstance(value, dt.datetime)):
            raise Unrepresentable(f"a validator made a {type(value).__name__}; the column holds {column.dtype}")
        try:
            if isinstance(column.dtype, pl.Float64) and isinstance(value, int):
                return float(value)
            return column.put(value)
        except (TypeError, AttributeError, ValueError, ArithmeticError):
            raise Unrepresentable(
                f"a validator made a {type(value).__name__}; the column holds {column.dtype}"
            ) from None

    return replace(column, encode=encode)


def _encode_int(value: int) -> int:
    if not _MIN_INT64 <= value <= _MAX_INT64:
        raise Unrepresentable("integer over 64 bits, which the column cannot hold")
    return value


def _decimal_encoder(precision: int, scale: int) -> Callable[[Decimal], str]:
    limit = Decimal(10) ** (precision - scale)

    def encode(value: Decimal | int) -> str:
        if type(value) is int:
            # A default, which Pydantic does not validate.
            return encode(Decimal(value))
        if not isinstance(value, Decimal):
            raise TypeError(f"a {type(value).__name__} is no Decimal")
        if not value.is_finite():
            raise Unrepresentable(f"{value} is no number, which the column cannot hold")
        if value.copy_abs() >= limit:
            raise Unrepresentable(
                f"more than {precision - scale} digits before the point, which the column cannot hold"
            )
        text = format(value, "f")
        places = text.partition(".")[2]
        if len(places) > scale and places[scale:].strip("0"):
            raise Unrepresentable(f"more than {scale} decimal places, which the column cannot hold")
        return text

    return encode


def _encode_time(value: dt.time) -> dt.time:
    if value.tzinfo is not None:
        raise Unrepresentable("a time with a zone, which the column cannot hold")
    return value


def _encode_aware(value: dt.datetime) -> int:
    if value.tzinfo is None:
        raise Unrepresentable("a datetime without zone in a column in UTC; say datetimes='naive', or use NaiveDatetime")
    made = (value - _EPOCH_UTC) // _MICROSECOND
    if not _FIRST <= made <= _LAST:
        raise Unrepresentable("a datetime that lies outside the years 1 to 9999 in UTC")
    return made


def _encode_naive(value: dt.datetime) -> int:
    if value.tzinfo is not None:
        raise Unrepresentable(
            "a datetime with a zone in a column without one; use AwareDatetime in the model, or say datetimes='utc'"
        )
    return (value - _EPOCH) // _MICROSECOND


def _encode_uuid(value: UUID) -> str:
    if not isinstance(value, UUID):
        raise TypeError(f"a {type(value).__name__} is no UUID")
    return str(value)


def _encode_url(value: Any) -> str:
    if not isinstance(value, _URLS):
        raise TypeError(f"a {type(value).__name__} is no URL")
    return str(value)


def _encode_json(value: Any) -> str:
    if isinstance(value, SecretStr | SecretBytes):
        raise Unrepresentable("a secret, which is not written into a column; make the field a str, or leave it out")
    try:
        return pydantic_core.to_json(value, inf_nan_mode="constants").decode()
    except (ValueError, TypeError) as error:
        raise Unrepresentable(f"{type(value).__name__} cannot be put into a column: {error}") from None


#: The column of what no other type can hold without a loss (Any, mixed unions, models that hold themselves).
_JSON_TEXT: Final = Column(pl.String(), pl.String(), _encode_json)
