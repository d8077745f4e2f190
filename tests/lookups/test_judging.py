"""Answers are judged one by one, whatever they look like together."""

import pytest
from pydantic import BaseModel

from assay.lookups.judging import RowJudge


class Customer(BaseModel):
    id: str


GOOD = b'{"id": "C-1"}'


@pytest.mark.parametrize(
    "odd",
    [b"<html><body>down</body></html>", b"", b" ", b"[]", b"[", b"\x1f\x8b\x08\x00", b"PAR1", b"\xff\xfe{\x00", b"id"],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_answer_that_is_no_object_is_wrong_alone(odd: bytes, place: int) -> None:
    answers = [GOOD, GOOD]
    answers.insert(place, odd)
    judged = RowJudge("customers", Customer).lines(answers)
    assert judged.numbered["_record"].to_list() == [n for n in range(3) if n != place]
    assert list(judged.wrong) == [place]


def test_answers_like_records_are_judged_together() -> None:
    judged = RowJudge("customers", Customer).lines([GOOD, b'{"id": 1}', GOOD])
    assert judged.frame["id"].to_list() == ["C-1", "C-1"]
    assert "valid string" in judged.wrong[1]
