"""The compiled verdict on CSV against the reference's, record by record: verdict, value, errors, raw bytes, place."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, create_model
from tests.records.test_xml_twin import KINDS
from tests.records.twins import compare

from assay.records.batches import Format

ODD = st.sampled_from(
    ["", " ", "1", '""', '" "', '"1"', ' "1"', '"a""b"', '"a,b"', '"a\nb"', '"', '"x"y', "1;2", "\t", "007", "1e3", "é"]
)
CONFIGS = st.sampled_from([ConfigDict(), ConfigDict(extra="forbid"), ConfigDict(str_strip_whitespace=True)])
SINGLE = sorted(set(KINDS) - {"list", "dates"})


@st.composite
def feeds(draw: st.DrawFn) -> tuple[type[BaseModel], bytes, Format]:
    kinds = draw(st.lists(st.sampled_from(SINGLE), min_size=1, max_size=4))
    fields: dict[str, Any] = {}
    header = []
    for number, kind in enumerate(kinds):
        name, annotation = f"f{number}", KINDS[kind][0]
        how = draw(st.integers(0, 5))
        ways = {0: (annotation | None, None), 1: (annotation, Field(alias=f"{name}A")), 2: (annotation, None)}
        fields[name] = ways.get(how, (annotation, ...))
        header.append(f"{name}A" if how == 1 else name)
    fields["last"] = (str, "none")
    model = create_model("Drawn", __config__=draw(CONFIGS), **fields)
    delimiter = draw(st.sampled_from([",", ";", "\t"]))
    header += draw(st.sampled_from([[], ["more"], ["last"]]))
    rows = []
    for _ in range(draw(st.integers(1, 12))):
        oddness = draw(st.integers(0, 9))
        cells = [draw(ODD if oddness > 6 and draw(st.booleans()) else KINDS[kind][1]) for kind in kinds]
        cells += ["z"] * (len(header) - len(kinds) + (oddness == 9))
        rows.append(delimiter.join(f'"{cell}"' if oddness % 3 == 0 and '"' not in cell else cell for cell in cells))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    columns = draw(st.booleans())
    lines = rows if columns else [delimiter.join(header), *rows]
    null = draw(st.sampled_from([None, True]))
    how_read = Format("csv", delimiter=delimiter, columns=tuple(header) if columns else None, empty_as_null=null)
    # A source without a byte is warned of.
    return model, end.join(lines).encode() or b"\n", how_read


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example])
@given(feed=feeds(), size=st.sampled_from([30, 200, 10**6]))
def test_the_twins_agree(feed: tuple[type[BaseModel], bytes, Format], size: int) -> None:
    model, data, how = feed
    compare(model, data, how, size)


@pytest.mark.campaign
@settings(max_examples=10_000, suppress_health_check=list(HealthCheck))
@given(feed=feeds(), size=st.sampled_from([30, 200, 10**6]))
def test_the_twins_agree_at_length(feed: tuple[type[BaseModel], bytes, Format], size: int) -> None:
    model, data, how = feed
    compare(model, data, how, size)


class Sale(BaseModel):
    """A row as such are exported."""

    day: dt.date
    region: Literal["North", "South"]
    item: str
    price: Annotated[Decimal, Field(max_digits=9, decimal_places=2)]
    count: Annotated[int, Field(ge=0)] = 1


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_no_clean_row_goes_to_the_reference(end: str, quote: str) -> None:
    rows = [f"2024-02-{1 + n % 28:02},North,{quote}Wörk{quote},{n}.50,{n}" for n in range(2_000)]
    data = end.join(["day,region,item,price,count", *rows]).encode()
    assert compare(Sale, data, Format("csv")) == 0
    doubled = data.replace(f"{quote}W".encode(), b'"""W', 1).replace(f"k{quote},".encode(), b'k",', 1)
    assert compare(Sale, doubled, Format("csv")) == 1
