"""JSONTestSuite: what is JSON and what is not, by the processors alone, through models, and line by line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import RootModel, TypeAdapter, ValidationError
from tests.reading.hostile import Line, both

from assay.reading import ProcessorFactory

#: Documents of which the whole is none, and which are several in a row, or none, as records.
IN_A_ROW = {
    "n_single_space.json": 0,
    "n_structure_double_array.json": 0,
    "n_structure_no_data.json": 0,
    "n_structure_object_with_trailing_garbage.json": 2,
}


class Anything(RootModel[Any]):
    """Any JSON at all."""


@pytest.fixture(scope="module")
def documents(suites: Path) -> dict[str, bytes]:
    folder = suites / "jsontestsuite" / "test_parsing"
    if not folder.is_dir():
        pytest.skip("jsontestsuite is absent")
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.json"))}


@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_95_accepted_188_rejected_and_no_crash(documents: dict[str, bytes], name: str) -> None:
    process = ProcessorFactory.create(name).process
    verdicts = Counter[tuple[str, bool]]()
    for document, data in documents.items():
        try:
            process(data)
            accepted = True
        except ValueError:
            accepted = False
        verdicts[document[0], accepted] += 1
    assert verdicts.pop(("i", True)) + verdicts.pop(("i", False)) == 35
    assert verdicts == {("y", True): 95, ("n", False): 188}


@pytest.mark.filterwarnings("ignore::assay.records.EmptySourceWarning")
def test_through_a_model_the_verdict_is_pydantics(documents: dict[str, bytes]) -> None:
    """The elements of an array are records, so an array is accepted where all of them are."""
    validate = TypeAdapter(Anything).validate_json
    compared = 0
    for name, data in documents.items():
        found = both(data, model=Anything, format="json")
        accepted = found.error is None and not found.rejects
        if name in IN_A_ROW:
            assert (accepted, len(found.rows)) == (True, IN_A_ROW[name])
            continue
        try:
            whole = validate(data).root
        except ValidationError:
            assert not accepted, name
            continue
        assert accepted, name
        values = [None if row["root"] is None else json.loads(row["root"]) for row in found.rows]
        assert repr(values) == repr(whole if isinstance(whole, list) else [whole]), name
        compared += 1
    assert compared > 95


def test_as_lines_and_where_nobody_asks_for_them_the_verdict_is_pydantics_too(documents: dict[str, bytes]) -> None:
    validate = TypeAdapter(Line).validate_json
    good = b'{"id":1,"x":[],"amount":"1.10"}'
    counted = Counter[bool]()
    for name, data in documents.items():
        document = data.strip()
        if b"\n" in document:
            continue
        line = b'{"id":2,"x":' + document + b',"amount":"2.20"}'
        found = both(b"\n".join([good, good, line, good]), format="jsonl")
        try:
            validate(line)
            accepted = True
        except ValidationError:
            accepted = False
        assert found.error is None
        assert found.accepted == ([1, 1, 2, 1] if accepted else [1, 1, 1]), name
        assert [reject["raw"] for reject in found.rejects] == ([] if accepted else [line]), name
        counted[accepted] += 1
    assert counted.total() == 313
