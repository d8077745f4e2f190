"""From a file to a model of its records: look at a sample, then hold the model against the whole file.

Where a record of the file is rejected, it is looked at, too, and the model widened; so it accepts the file it came
from, but for records that are malformed as such. These are said as doubts.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import pydantic_core
from pydantic import BaseModel

from assay.errors import ConfigurationError, SourceError, ValidationError
from assay.inference.classes import Classes, ClassSpec
from assay.inference.names import class_name, module_name, quoted
from assay.inference.seen import Seen
from assay.inference.source import write_source
from assay.inference.xml import note_element
from assay.reading import Processor, RawRecord, SourceFile, SourceLike, resolve
from assay.reading.xml import parse_hardened, record_of
from assay.records import Format, RecordReader
from assay.settings import Settings

#: Records that are looked at before the first model is made.
SAMPLE: Final = 5_000
_SNIFFED: Final = 64 * 1024
_DELIMITERS: Final = ";\t|"


class _Anything(BaseModel):
    """Any record at all: to cut a file before there is a model."""

    anything: Any = None


@dataclass(frozen=True)
class Inferred:
    """A model of the records of a file.

    Attributes:
        source: Its Python source.
        model: The same, made.
        doubts: What a reader of the model should look at, a line each.
        format: What `scan` has to be told to read the file.
        read: How many records the file has.
        accepted: How many of them the model accepts: all but those that are malformed as such.
    """

    source: str
    model: type[BaseModel]
    doubts: tuple[str, ...]
    format: Format
    read: int
    accepted: int


def infer_model(
    source: SourceLike,
    format: str | None = None,  # noqa: A002 - the word people use
    record: str | None = None,
    namespaces: Mapping[str, str] | None = None,
    *,
    name: str | None = None,
    sample: int | None = SAMPLE,
    delimiter: str | None = None,
    quote: str | None = None,
    columns: Sequence[str] | None = None,
    settings: Settings | None = None,
) -> Inferred:
    """Infer a Pydantic model from the records of a source, as source text.

    Args:
        source: As `assay.scan` takes it; all of it is read, more than once.
        format: "jsonl", "json", "xml", "csv" or a registered one; by suffix where it is not given.
        record: Where the records are, as in `assay.scan`.
        namespaces: Prefix to namespace (XML).
        name: Of the class; by the file's name where it is not given.
        sample: How many records are looked at to make the first model; None for all. Of the others, those are looked at
            that it rejects.
        delimiter: As in `assay.scan`; told from the row of names where it is not given.
        quote: As in `assay.scan`.
        columns: As in `assay.scan`.
        settings: Limits; by default those of `Settings()`.

    Raises:
        ConfigurationError: the format cannot be told, or the name is none.
        SourceError: the file cannot be read to its end, or has no records.
    """
    if name is not None and not (name.isidentifier() and name.isascii()):
        raise ConfigurationError(f"{name!r} is no name of a class; give one such as Order")
    how = Format(format, record, namespaces, delimiter=delimiter, quote=quote, columns=columns)
    # The reference alone judges here: what is printed shall rest on nothing else.
    judged = (settings or Settings()).model_copy(update={"compiled": False})
    with _reopenable(resolve(source)) as files:
        return _Inference(files, how, judged, name, source).run(sample)


@contextmanager
def _reopenable(files: list[SourceFile]) -> Iterator[list[SourceFile]]:
    """Files as they are; a stream, which can be read once only, as a temporary copy."""
    with tempfile.TemporaryDirectory(prefix="assay-infer-") as folder:
        kept = []
        for number, file in enumerate(files):
            if file.path is not None:
                kept.append(file)
                continue
            path = Path(folder, str(number))
            with file.open(hashed=False) as stream, path.open("wb") as copy:
                shutil.copyfileobj(stream, copy, 1024 * 1024)
            kept.append(replace(file, _open=partial(_open, path)))
        yield kept


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


@dataclass
class _Inference:
    files: list[SourceFile]
    how: Format
    settings: Settings
    name: str | None
    source: SourceLike
    seen: Seen = field(default_factory=Seen)
    doubts: list[str] = field(default_factory=list)
    tags: Counter[str] = field(default_factory=Counter)
    prefixes: dict[str, str] = field(default_factory=dict)

    def run(self, sample: int | None) -> Inferred:
        kinds = {self._kind(file) for file in self.files}
        if len(kinds) > 1:
            raise ConfigurationError(
                f"files of {' and '.join(sorted(kinds))} have no model in common; give them singly"
            )
        (self.kind,) = kinds
        if self.kind == "csv":
            self._look_at_names()
        self._look(sample)
        if not self._has_fields():
            # The first records are no measure of the others.
            self.seen = Seen()
            self._look(None)
        if not self._has_fields():
            raise SourceError(self._nothing(), file=self.files[0].name)
        asked: set[tuple[str, int]] = set()
        while True:
            classes, spec = self._build()
            found = self._check(spec, asked)
            if not found.changed:
                break
        self._doubt_records()
        doubts = [*self.doubts, *classes.doubts, *found.malformed()]
        options = self._options()
        usage = _usage(spec, self._shown(), options)
        records = "one record" if found.read == 1 else f"{found.read:,} records"
        about = f"{spec.name}: inferred from the {records} of {self._plain_name()}."
        text = write_source(classes.made, classes.scalars.decimals, about=about, usage=usage)
        return Inferred(text, spec.model, tuple(dict.fromkeys(doubts)), self.how, found.read, found.accepted)

    def _kind(self, file: SourceFile) -> str:
        name = self.how.format or file.format
        return name if name in ("xml", "csv") else "json"

    def _has_fields(self) -> bool:
        return bool(self.seen.members) or self.seen.texts.filled > 0

    def _nothing(self) -> str:
        where = f' at record="{self.how.record}"' if self.how.record else ""
        return f"has no records{where} that have any field, so there is nothing to infer from"

    # Looking.

    def _reader(self) -> RecordReader[BaseModel]:
        return RecordReader(_Anything, self.how, self.settings)

    def _look(self, sample: int | None) -> None:
        left = sample
        for file in self.files:
            note = self._noter(file)
            for raw in self._reader().raw_records(file):
                if left == 0:
                    return
                if raw.problem is None:
                    note(raw)
                left = None if left is None else left - 1

    def _noter(self, file: SourceFile) -> Callable[[RawRecord], bool]:
        """How a raw record of a file is looked at; it gives False for what is malformed, which the check will tell."""
        if self.kind == "xml":
            return self._note_xml
        if self.kind == "csv":
            # An empty cell is told from one that is quoted.
            how = replace(self.how, empty_as_null=True)
            return self._note_parsed(RecordReader(_Anything, how, self.settings).processor(file))
        processor = self._reader().processor(file)
        if (self.how.format or file.format) in ("json", "jsonl"):
            return self._note_json
        return self._note_parsed(processor)

    def _note_json(self, raw: RawRecord) -> bool:
        try:
            return self._note(pydantic_core.from_json(raw.data, allow_inf_nan=True))
        except ValueError:
            return False

    def _note_parsed(self, processor: Processor) -> Callable[[RawRecord], bool]:
        def note(raw: RawRecord) -> bool:
            try:
                made = processor.process(raw.data)
            except ValidationError:
                return False
            return self._note(pydantic_core.from_json(pydantic_core.to_json(made, inf_nan_mode="constants")))

        return note

    def _note(self, value: Any) -> bool:
        if not isinstance(value, dict):
            return False
        self.seen.note(value, trimmed=self.kind == "csv")
        return True

    def _note_xml(self, raw: RawRecord) -> bool:
        try:
            element = record_of(parse_hardened(raw.data))
        except ValidationError:
            return False
        self.tags[str(element.tag)] += 1
        note_element(self.seen, element, self._note_prefix)
        return True

    def _note_prefix(self, tag: str, prefix: str | None) -> None:
        uri, _, _ = tag.rpartition("}")
        if uri and uri[1:] not in self.prefixes:
            name = prefix or "ns"
            while name in self.prefixes.values():
                name += "_"
            self.prefixes[uri[1:]] = name

    def _look_at_names(self) -> None:
        """See whether the row of names tells another delimiter, or is no row of names."""
        reader = self._reader()
        with self.files[0].open(max_ratio=self.settings.max_decompressed_ratio, hashed=False) as stream:
            head = stream.read(_SNIFFED).removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
        first = head.partition(b"\n")[0].decode("utf-8", "replace")
        if self.how.delimiter is None:
            found = max(_DELIMITERS, key=first.count)
            if "," not in first and first.count(found):
                self.how = replace(self.how, delimiter=found)
                self.doubts.append(f"the row of names has no comma; read with delimiter={quoted(found)}")
        if self.how.columns is None:
            names = first.strip().split(self.how.delimiter or ",")
            seen = Seen()
            for one in names:
                seen.note(one.strip(' "'), trimmed=True)
            if seen.texts.kinds.total():
                self.doubts.append("the row of names looks like a record; if it is one, give the names of the columns")
        reader.processor(self.files[0])

    # Making and checking.

    def _build(self) -> tuple[Classes, ClassSpec]:
        kind = "texts" if self.kind == "csv" else self.kind
        given = {uri: prefix for prefix, uri in (self.how.namespaces or {}).items()}
        known = self.prefixes | given
        name = self.name or self._default_name()
        self.how = replace(self.how, empty_as_null=None)
        classes = Classes(kind, namespaces=known)
        spec = classes.build(self.seen, name)
        if classes.needs_null:
            self.how = replace(self.how, empty_as_null=True)
            classes = Classes(kind, empty_as_null=True, namespaces=known)
            spec = classes.build(self.seen, name)
        if classes.prefixes:
            self.how = replace(self.how, namespaces={**classes.prefixes, **(self.how.namespaces or {})})
        return classes, spec

    def _check(self, spec: ClassSpec, asked: set[tuple[str, int]]) -> _Found:
        """Hold a model against all records; those that it rejects are looked at, so that the next one takes them."""
        found = _Found()
        reader = RecordReader(spec.model, self.how, self.settings)
        notes = {file.name: self._noter(file) for file in self.files}
        for batch in reader.batches(self.files):
            found.read += batch.read
            found.accepted += batch.frame.height
            for row in batch.rejects.iter_rows(named=True):
                place = (row["source"], row["record"])
                if row["stage"] == "read":
                    found.note(row)
                elif place in asked:
                    if self._give_up(spec, row["errors"]):
                        found.changed = True
                    else:
                        found.note(row)
                elif notes[row["source"]](RawRecord(row["raw"], row["record"], row["line"], row["offset"])):
                    asked.add(place)
                    found.changed = True
                else:
                    found.note(row)
        return found

    def _give_up(self, spec: ClassSpec, errors: Sequence[Mapping[str, str]]) -> bool:
        """Take any value where a record is rejected that was looked at; whether there was such a field."""
        changed = False
        for one in spec.fields:
            member = self.seen.members.get(one.key) if one.key is not None else None
            names = (one.name, one.name if one.alias is None else one.alias)
            if member is None or member.seen.is_opaque:
                continue
            if any(e["loc"] == name or e["loc"].startswith(f"{name}.") for e in errors for name in names):
                member.seen.is_opaque = changed = True
        return changed

    # Telling.

    def _default_name(self) -> str:
        tags = {tag.rpartition("}")[2] for tag in self.tags}
        if len(tags) == 1:
            return class_name(tags.pop(), of_many=False, taken=())
        if self.how.record and self.kind == "json":
            return class_name(self.how.record.rpartition(".")[2], of_many=True, taken=())
        path = self.files[0].path
        if path is None:
            return "Record"
        stem = path.name.partition(".")[0]
        if len(self.files) > 1 or not any(map(str.isalpha, stem)):
            # The files of a folder are named by what tells them apart.
            stem = path.resolve().parent.name
        return class_name(stem, of_many=True, taken=())

    def _doubt_records(self) -> None:
        """Say where the records are perhaps not what was meant."""
        if len(self.tags) > 1 and self.how.record is None:
            counts = ", ".join(f"{tag.rpartition('}')[2]} ({count:,})" for tag, count in self.tags.most_common(5))
            self.doubts.append(f"records of several kinds: {counts}; perhaps say --record {_most_common(self.tags)}")
        if self.how.record is None and self.seen.count == 1:
            for key, member in self.seen.members.items():
                items = member.seen.items
                many = items.objects if items is not None else member.seen.count if member.is_repeated else 0
                if many > 1:
                    self.doubts.append(f"one record with {many:,} of {_local(key)}; perhaps say --record {_local(key)}")

    def _plain_name(self) -> str:
        if len(self.files) > 1:
            return f"{len(self.files):,} files"
        name = Path(self.files[0].name).name
        return name if name.isprintable() and not set(name) & {'"', "\\"} else "a file"

    def _shown(self) -> str:
        if isinstance(self.source, str):
            return quoted(self.source)
        return quoted(self.files[0].name)

    def _options(self) -> dict[str, Any]:
        given = {"format": self.how.format} | self.how.options()
        return {key: value for key, value in given.items() if value is not None}


def _local(key: str) -> str:
    return key.removeprefix("@").rpartition("}")[2]


def _most_common(tags: Counter[str]) -> str:
    ((tag, _),) = tags.most_common(1)
    return tag.rpartition("}")[2]


@dataclass
class _Found:
    """What one check has found."""

    read: int = 0
    accepted: int = 0
    changed: bool = False
    wrong: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def note(self, row: Mapping[str, Any]) -> None:
        """Count a record that no model can take."""
        error = row["errors"][0]
        self.wrong[error["type"]] += 1
        self.first.setdefault(error["type"], f"{row['source']}:{row['line']}: {error['msg']}")

    def malformed(self) -> Iterator[str]:
        """What was found, in words."""
        for kind, count in self.wrong.items():
            are = "is" if count == 1 else "are"
            yield f"{count:,} of {self.read:,} records {are} rejected as {kind}, first {self.first[kind]}"


def _usage(spec: ClassSpec, source: str, options: Mapping[str, Any]) -> list[str]:
    arguments = [source, spec.name]
    arguments += [
        f"{key}={quoted(value) if isinstance(value, str) else _literal(value)}" for key, value in options.items()
    ]
    module = module_name(spec.name)
    return [
        f"How to use it, saved as {module}.py:",
        "",
        "    import assay",
        f"    from {module} import {spec.name}",
        "",
        f"    frame = assay.scan({', '.join(arguments)}).collect()",
    ]


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{quoted(key)}: {quoted(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(quoted, value)) + "]"
    return repr(value)
