"""From what was found in records to the model's columns, level by level, with the proof of each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
import polars as pl

from assay.reading import Bools, Ints
from assay.records.claims import ANY_TEXT, Claim
from assay.records.cursor import Text
from assay.records.direct import Direct
from assay.records.found import ABSENT, BARE, NULL, QUOTED, Found, Level, States, gathered, together

#: From the JSON texts of values to a column of them; null where the reference takes a text otherwise or not at all.
Refer = Callable[[pl.Series], pl.Series]

_XML_BLANKS: Final = " \t\r\n"
_NOTHING: Final = pl.Series(dtype=pl.Null)


class Value(Protocol):
    """How a column, or a part of one, is made of what was found."""

    @property
    def slot(self) -> int | None:
        """Where it was found; None where it never is."""
        ...

    @property
    def dtype(self) -> pl.DataType:
        """The type of the column."""
        ...

    @property
    def presence(self) -> Presence:
        """What it is where none is written."""
        ...


@dataclass(frozen=True)
class Presence:
    """What a value is where none is written.

    Attributes:
        nullable: Whether it may be null.
        default: What it is where it is absent, as a Series of one value; None where that is not claimed.
    """

    nullable: bool = False
    default: pl.Series | None = None


@dataclass(frozen=True)
class Leaf:
    """A single value, by a claim.

    Attributes:
        claim: What is claimed of its text.
        trimmed: Whether blanks around it are layout.
        never_empty: Whether a text without more than that is none of which anything is claimed (it may be null).
    """

    slot: int
    dtype: pl.DataType
    presence: Presence
    claim: Claim
    trimmed: bool = False
    never_empty: bool = False


@dataclass(frozen=True)
class Referred:
    """A value that the reference judges by itself, and remembers.

    Attributes:
        refer: Its judgement.
        quotes: Whether it is asked for strings with their quotation marks (JSON).
    """

    slot: int
    dtype: pl.DataType
    presence: Presence
    refer: Refer
    quotes: bool = True


@dataclass(frozen=True)
class Constant:
    """A field that was never seen: its default."""

    dtype: pl.DataType
    presence: Presence
    slot: None = None


@dataclass(frozen=True)
class Struct:
    """A nested model.

    Attributes:
        fields: Its fields, in order.
        ignored: What else may be there and must be JSON.
    """

    slot: int
    dtype: pl.DataType
    presence: Presence
    fields: Mapping[str, Value]
    ignored: Sequence[Value] = ()


@dataclass(frozen=True)
class Many:
    """A list.

    Attributes:
        item: Its items.
        shortest, longest: How many they must be.
        through: The slots of the arrays around, the outermost first, where it is gathered from their items (XML).
    """

    slot: int
    dtype: pl.DataType
    presence: Presence
    item: Value
    shortest: int = 0
    longest: int | None = None
    through: Sequence[int] = ()


@dataclass(frozen=True)
class Ignored:
    """A value that the model does not ask for: it must be JSON all the same."""

    slot: int
    claim: Claim
    dtype: pl.DataType = pl.String()  # noqa: RUF009 - a value
    presence: Presence = Presence(nullable=True)


class Assembly:
    """The columns of one block.

    Args:
        text: Where the values lie.
        spaced: Whether control characters may stand between values: then each string is looked at for some.
    """

    def __init__(self, text: Text, *, spaced: bool) -> None:
        self._text = text
        self._spaced = spaced

    @cached_property
    def _data(self) -> pl.Expr:
        return pl.lit(pl.Series([self._text.block.data]))

    def columns(
        self, values: Mapping[str, Value], level: Level, ignored: Sequence[Value] = ()
    ) -> tuple[dict[str, pl.Series], Bools]:
        """One column for each value, and of which rows all of them, and what is ignored, are certain."""
        proofs: list[Bools] = []
        leaves = [one for value in (*values.values(), *ignored) for one in _leaves(value, None)]
        made = self._leaf_columns(leaves, level, proofs)
        columns = {name: self._column(value, level, made, proofs).alias(name) for name, value in values.items()}
        for value in ignored:
            self._column(value, level, made, proofs)
        return columns, _all_of(proofs, level.size)

    def _leaf_columns(
        self, leaves: Sequence[tuple[Leaf | Ignored, int | None]], level: Level, proofs: list[Bools]
    ) -> dict[int, pl.Series]:
        """The values of all leaves of a level, together; each with the slot of the struct that it is in."""
        if not leaves or not level.size:
            return {leaf.slot: pl.Series(dtype=leaf.dtype) for leaf, _ in leaves}
        found = {leaf.slot: level.found(leaf.slot) for leaf, _ in leaves}
        missing = {leaf.slot: level.found(parent).states < BARE for leaf, parent in leaves if parent is not None}
        made: dict[int, pl.Series] = {}
        direct = {leaf.slot: leaf for leaf, _ in leaves if isinstance(leaf, Leaf) and leaf.claim.direct is not None}
        left = self._direct(direct, level.size, found, missing, made, proofs)
        self._by_text([leaf for leaf, _ in leaves if leaf.slot not in direct], found, missing, made, proofs)
        for slot, (rows, certain) in left.items():
            # Some values of a column are read from their texts, and come back to their places.
            one: dict[int, pl.Series] = {}
            proven: list[Bools] = []
            part = {slot: found[slot].part(rows)}
            gone = {slot: missing[slot][rows]} if slot in missing else {}
            self._by_text([direct[slot]], part, gone, one, proven)
            order = np.arange(level.size)
            order[rows] = level.size + np.arange(len(rows))
            made[slot] = pl.concat([made[slot], one[slot]])[order]
            certain[rows] = True
            for proof in proven:
                certain[rows] &= proof
            proofs.append(certain)
        return made

    def _direct(
        self,
        leaves: Mapping[int, Leaf],
        level_size: int,
        found: Mapping[int, Found],
        missing: Mapping[int, Bools],
        made: dict[int, pl.Series],
        proofs: list[Bools],
    ) -> dict[int, tuple[Ints, Bools]]:
        """The values that are read from the bytes themselves.

        Returns:
            For each leaf of which some are not: the rows of these, and the proof of all the others.
        """
        left: dict[int, tuple[Ints, Bools]] = {}
        read = self._read(leaves, found)
        for slot, leaf in leaves.items():
            one, direct = found[slot], _direct_of(leaf)
            raw, good = read[slot]
            if not good.all():
                raw = np.where(good, raw, 0)
            column = direct.value(raw).cast(leaf.dtype)
            held = direct.holds(raw)
            gone = missing.get(slot)
            proven: list[Bools] = []
            uniform = one.is_all(QUOTED) or one.is_all(BARE)
            if held is not None:
                proven.append(held if uniform else held | (one.states < BARE))
            made[slot] = column if uniform else _with_presence(column, leaf, one, proven)
            certain = _all_of(proven, level_size) if proven else None
            if certain is not None and gone is not None:
                certain = certain | gone
            rows = np.zeros(0, np.int64) if good.all() else np.flatnonzero(~good & (one.states >= BARE))
            if len(rows):
                left[slot] = rows, np.ones(level_size, np.bool_) if certain is None else certain
            elif certain is not None:
                proofs.append(certain)
        return left

    def _read(self, leaves: Mapping[int, Leaf], found: Mapping[int, Found]) -> dict[int, tuple[Ints, Bools]]:
        """Raw values, and which of them are read: fields of one kind at once, since few long steps are quicker."""
        kinds: dict[tuple[object, ...], list[int]] = {}
        for slot, leaf in leaves.items():
            kinds.setdefault(_direct_of(leaf).kind, []).append(slot)
        read: dict[int, tuple[Ints, Bools]] = {}
        for slots in kinds.values():
            direct = _direct_of(leaves[slots[0]])
            several = [found[slot] for slot in slots]
            raw, good = direct.read(self._text, several[0] if len(slots) == 1 else together(several))
            size = len(several[0].starts)
            for number, slot in enumerate(slots):
                part = slice(number * size, (number + 1) * size)
                read[slot] = raw[part], good[part]
        return read

    def _by_text(
        self,
        leaves: Sequence[Leaf | Ignored],
        found: Mapping[int, Found],
        missing: Mapping[int, Bools],
        made: dict[int, pl.Series],
        proofs: list[Bools],
    ) -> None:
        """The values that are made of texts."""
        if not leaves:
            return
        texts = self._texts({leaf.slot: found[leaf.slot] for leaf in leaves}, proofs)
        texts = texts.with_columns(
            leaf.claim.value(_raw(leaf)).cast(leaf.dtype).alias(f"{leaf.slot} value")
            for leaf in leaves
            if _is_converted(leaf)
        )
        values, proven = [], []
        for leaf in leaves:
            bare, quoted = _matches(leaf, leaf.claim.bare), _matches(leaf, leaf.claim.quoted)
            value, proof = _judged(leaf, found[leaf.slot], bare, quoted)
            if isinstance(leaf, Leaf):
                values.append(value.alias(f"{leaf.slot}"))
            if proof is not None:
                proven.append(_or_missing(proof, missing.get(leaf.slot)))
        frame = texts.with_columns(*values, _together(proven))
        if proven:
            proofs.append(frame["proof"].to_numpy())
        made.update({leaf.slot: frame[f"{leaf.slot}"] for leaf in leaves if isinstance(leaf, Leaf)})

    def _texts(self, found: Mapping[int, Found], proofs: list[Bools]) -> pl.DataFrame:
        """The text of each value, strings without their quotation marks and escapes; and the states that vary."""
        places = {}
        states = {}
        for slot, one in found.items():
            places[f"{slot} start"] = one.starts
            places[f"{slot} length"] = (one.ends - one.starts).astype(np.uint64)
            if not _all_are(one.states, one.states[0]):
                states[f"{slot} state"] = one.states
        sliced = pl.DataFrame(places).select(
            self._data.bin.slice(pl.col(f"{slot} start"), pl.col(f"{slot} length")).cast(pl.String).alias(f"{slot}")
            for slot in found
        )
        replaced = []
        for slot, one in found.items():
            text = sliced[f"{slot}"]
            if self._spaced:
                proofs.append(self._text.clean(one.starts, one.ends) | (one.states != QUOTED))
            if self._text.escapes is not None:
                decoded = self._decoded(text, one, proofs)
                if decoded is not text:
                    replaced.append(decoded)
        if states or replaced:
            sliced = sliced.with_columns(*replaced, **{name: pl.Series(state) for name, state in states.items()})
        return sliced

    def _decoded(self, texts: pl.Series, found: Found, proofs: list[Bools]) -> pl.Series:
        """Texts with the escapes of some of them decoded."""
        escaped = self._text.has_escape(found.starts, found.ends) & (found.states == QUOTED)
        if not escaped.any():
            return texts
        rows = np.flatnonzero(escaped)
        decoded = self._text.decoded(texts.gather(rows).to_list())
        bad = np.array([one is None for one in decoded])
        if bad.any():
            proof = np.ones(len(texts), np.bool_)
            proof[rows[bad]] = False
            proofs.append(proof)
        order = np.arange(len(texts))
        order[rows] = len(texts) + np.arange(len(rows))
        return pl.concat([texts, pl.Series(texts.name, decoded, dtype=pl.String)])[order].alias(texts.name)

    def _column(self, value: Value, level: Level, made: Mapping[int, pl.Series], proofs: list[Bools]) -> pl.Series:
        match value:
            case Leaf():
                return made[value.slot]
            case Ignored():
                return _NOTHING
            case Constant():
                return _default(value).new_from_index(0, level.size)
            case Referred():
                return self._referred(value, level.found(value.slot), proofs)
            case Struct():
                return self._struct(value, level, made, proofs)
            case Many():
                return self._list(value, level, proofs)
        raise AssertionError(value)

    def _referred(self, value: Referred, found: Found, proofs: list[Bools]) -> pl.Series:
        quoted = (found.states == QUOTED).astype(np.int64) if value.quotes else np.zeros(len(found.states), np.int64)
        there = found.states >= BARE
        lengths = np.where(there, found.ends - found.starts + 2 * quoted, 0)
        places = pl.DataFrame({"start": found.starts - quoted, "length": lengths.astype(np.uint64)})
        texts = places.select(self._data.bin.slice(pl.col("start"), pl.col("length")).cast(pl.String)).to_series()
        if self._spaced:
            proofs.append(self._text.clean(found.starts, found.ends) | (found.states != QUOTED))
        if not value.quotes and self._text.escapes is not None:
            texts = self._decoded(texts, found, proofs).fill_null("")
        column = value.refer(texts)
        proofs.append(column.is_not_null().to_numpy() | ~there)
        return _with_presence(column, value, found, proofs)

    def _struct(self, value: Struct, level: Level, made: Mapping[int, pl.Series], proofs: list[Bools]) -> pl.Series:
        found = level.found(value.slot)
        inner: list[Bools] = []
        fields = [self._column(one, level, made, inner).alias(name) for name, one in value.fields.items()]
        for one in value.ignored:
            self._column(one, level, made, inner)
        missing = found.states < BARE
        proofs.extend(proof | missing for proof in inner)
        struct = pl.DataFrame(fields).to_struct()
        return _with_presence(struct, value, found, proofs)

    def _list(self, value: Many, level: Level, proofs: list[Bools]) -> pl.Series:
        owner, items = level.items_of((*value.through, value.slot))
        columns, certain = self.columns({"item": value.item}, items)
        if not certain.all():
            good = np.ones(level.size, np.bool_)
            good[owner[~certain]] = False
            proofs.append(good)
        counts = np.bincount(owner, minlength=level.size)
        found = level.found(value.slot) if not value.through else gathered(counts)
        if value.shortest or value.longest is not None:
            longest = len(owner) if value.longest is None else value.longest
            proofs.append((counts >= value.shortest) & (counts <= longest) | (found.states < BARE))
        return _with_presence(_lists(columns["item"], owner, counts, value.dtype), value, found, proofs)


def _leaves(value: Value, parent: int | None) -> Iterator[tuple[Leaf | Ignored, int | None]]:
    """The leaves that lie on one level, and in which struct of it."""
    match value:
        case Leaf() | Ignored():
            yield value, parent
        case Struct():
            for one in (*value.fields.values(), *value.ignored):
                yield from _leaves(one, value.slot)


def _is_converted(leaf: Leaf | Ignored) -> bool:
    return isinstance(leaf, Leaf) and (leaf.claim.convert is not None or leaf.trimmed)


def _raw(leaf: Leaf | Ignored) -> pl.Expr:
    text = pl.col(f"{leaf.slot}")
    return text.str.strip_chars(_XML_BLANKS) if isinstance(leaf, Leaf) and leaf.trimmed else text


def _all_of(proofs: Sequence[Bools], size: int) -> Bools:
    certain = np.ones(size, np.bool_)
    for proof in proofs:
        certain &= proof
    return certain


def _direct_of(leaf: Leaf) -> Direct:
    if leaf.claim.direct is None:
        raise AssertionError("a leaf that is read from its text only")
    return leaf.claim.direct


def _or_missing(proof: pl.Expr, missing: Bools | None) -> pl.Expr:
    """A proof, which is not asked for where the struct around is missing."""
    return proof if missing is None or not missing.any() else proof | pl.lit(pl.Series(missing))


def _together(proofs: Sequence[pl.Expr]) -> pl.Expr:
    every = pl.all_horizontal(proofs).fill_null(value=False) if proofs else pl.lit(value=True)
    return every.alias("proof")


def _judged(
    leaf: Leaf | Ignored, found: Found, bare: pl.Expr | None, quoted: pl.Expr | None
) -> tuple[pl.Expr, pl.Expr | None]:
    """The value of a leaf and its proof, by what is claimed of it; None where there is nothing to prove."""
    presence, state = leaf.presence, f"{leaf.slot} state"
    value = pl.col(f"{leaf.slot} value" if _is_converted(leaf) else f"{leaf.slot}")
    ways: dict[int, pl.Expr | None] = {
        BARE: bare,
        QUOTED: quoted,
        NULL: pl.lit(value=presence.nullable),
        ABSENT: pl.lit(value=presence.default is not None),
    }
    first = int(found.states[0])
    if _all_are(found.states, first):
        if first == NULL:
            value = pl.lit(None, dtype=leaf.dtype)
        elif first == ABSENT:
            value = pl.lit(_default(leaf)).first()
        return value, ways[first]
    kinds = [int(kind) for kind in np.unique(found.states)]
    proof: pl.Expr = pl.lit(value=False)
    for kind in kinds:
        way = ways[kind]
        proof = pl.when(pl.col(state) == kind).then(pl.lit(value=True) if way is None else way).otherwise(proof)
    if ABSENT in kinds:
        value = pl.when(pl.col(state) == ABSENT).then(pl.lit(_default(leaf)).first()).otherwise(value)
    if NULL in kinds:
        value = pl.when(pl.col(state) != NULL).then(value)
    return value, proof


def _matches(leaf: Leaf | Ignored, pattern: str | None) -> pl.Expr | None:
    """That a text is claimed; None where there is nothing to prove."""
    if pattern is None:
        return pl.lit(value=False)
    text, value, claim = _raw(leaf), pl.col(f"{leaf.slot} value" if _is_converted(leaf) else f"{leaf.slot}"), leaf.claim
    proofs = [] if pattern == ANY_TEXT else [text.str.contains(pattern)]
    if claim.convert is not None:
        proofs.append(value.is_not_null())
    if claim.check is not None:
        proofs.append(claim.check(text, value))
    if isinstance(leaf, Leaf) and leaf.never_empty:
        proofs.append(text != "")
    return pl.all_horizontal(proofs) if proofs else None


def _with_presence(column: pl.Series, value: Value, found: Found, proofs: list[Bools]) -> pl.Series:
    """A column with null and the default where nothing was written."""
    presence = value.presence
    column = column.cast(value.dtype)
    if found.is_all(BARE) or found.is_all(QUOTED):
        return column
    null, absent = found.states == NULL, found.states == ABSENT
    if not presence.nullable and null.any():
        proofs.append(~null)
    if presence.default is None and absent.any():
        proofs.append(~absent)
    written = pl.Series(~(null | absent))
    column = pl.select(pl.when(written).then(column)).to_series()
    default = _default(value)
    if absent.any() and default[0] is not None:
        column = pl.select(pl.when(pl.Series(absent)).then(pl.lit(default).first()).otherwise(column)).to_series()
    return column


def _default(value: Value) -> pl.Series:
    default = value.presence.default
    return pl.Series([None], dtype=value.dtype) if default is None else default


def _all_are(states: States | Ints, state: int) -> bool:
    return bool((states == state).all())


def _lists(items: pl.Series, owner: Ints, counts: Ints, dtype: pl.DataType) -> pl.Series:
    """Items, ordered by their owners, as a list for each."""
    rows = pl.DataFrame({"owner": np.arange(len(counts))})
    if not len(owner):
        empty = pl.Series([[]], dtype=dtype)
        return empty.new_from_index(0, len(counts))
    lists = (
        pl.DataFrame({"owner": owner, "items": items})
        .with_columns(pl.col("owner").set_sorted())
        .group_by("owner", maintain_order=True)
        .agg("items")
    )
    joined = rows.join(lists, on="owner", how="left", maintain_order="left")["items"].cast(dtype)
    return joined if counts.all() else joined.fill_null(pl.lit(pl.Series([[]], dtype=dtype)).first())
