from __future__ import annotations

import asyncio
import json
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
from pydantic import BaseModel, Field
from tests.lookups import service as faults
from tests.lookups.service import Service

from assay import (
    Filter,
    GroupBy,
    Http,
    HttpLimits,
    Lookup,
    Parquet,
    Pipeline,
    Rows,
    Source,
    Sql,
    SqlTable,
    Sum,
    Table,
    TTLCache,
)
from assay.errors import ConfigurationError
from assay.lookups import LookupContext, OpenLookup
from assay.lookups.breaker import CircuitBreaker, Pace
from assay.settings import Settings

QUICK = HttpLimits(wait_seconds=0.005, timeout_seconds=0.3, reset_seconds=0.05, max_wait_seconds=2)


class Customer(BaseModel):
    customer_id: str
    country: str
    credit: Annotated[Decimal, Field(max_digits=10, decimal_places=2)]


def http(service: Service, **told: Any) -> Http:
    given: dict[str, Any] = {"hosts": ["127.0.0.1"], "limits": QUICK} | told
    return Http(f"{service.url}/customers/{{customer_id}}", Customer, **given)


def batched(service: Service, size: int, **told: Any) -> Http:
    return replace(http(service, **told), url=f"{service.url}/customers?ids={{customer_id}}", batch=size)


@contextmanager
def opened(lookup: Http, settings: Settings | None = None, **params: str) -> Iterator[OpenLookup]:
    found = lookup.open(LookupContext((Path.cwd(),), settings or Settings(), params), ("customer_id",))
    try:
        yield found
    finally:
        found.close()


def keys(*names: str) -> pl.DataFrame:
    return pl.DataFrame({"customer_id": names}, schema={"customer_id": pl.String})


def test_the_name_is_the_last_fixed_part_of_the_path(service: Service) -> None:
    assert http(service).name == "customers"


def test_each_key_is_asked_once_and_never_more_at_once_than_allowed(service: Service) -> None:
    service.delay = 0.01
    names = [f"C-{n}" for n in range(60)]
    with opened(http(service, limits=replace(QUICK, concurrency=7))) as lookup:
        first = lookup.answer(keys(*names, "X-1"))
        again = lookup.answer(keys("X-1", *names[::-1]))
    assert first.failed is None
    assert first.rows.height == again.rows.height == 60
    assert first.rows.sort("customer_id").equals(again.rows.sort("customer_id"))
    assert set(service.asked.values()) == {1}
    assert service.most == 7
    assert (lookup.stats.calls, lookup.stats.hits) == (61, 61)
    assert lookup.stats.slowest_seconds >= 0.01


@pytest.mark.parametrize("size", [2, 25, 1000])
def test_a_batch_is_one_call(service: Service, size: int) -> None:
    names = [f"C-{n}" for n in range(50)]
    with opened(batched(service, size)) as lookup:
        answer = lookup.answer(keys(*names, "X-1", "a,b", ""))
        lookup.answer(keys(*names, "X-1"))
    assert answer.failed is None
    assert sorted(answer.rows["customer_id"]) == sorted(names)
    # Of keys that can stand in no list, nothing is asked.
    assert lookup.stats.calls == {2: 26, 25: 3, 1000: 1}[size]


@pytest.mark.parametrize(
    "fault",
    [
        faults.status(500),
        faults.status(503),
        faults.status(429, Retry_After="0"),
        faults.half_a_body,
        faults.reset,
        faults.hang,
    ],
)
def test_what_may_pass_is_tried_again(service: Service, fault: Callable[..., bool]) -> None:
    service.faults["C-1"] = [fault, fault]
    with opened(http(service)) as lookup:
        answer = lookup.answer(keys("C-0", "C-1", "C-2"))
    assert answer.failed is None
    assert dict(answer.rows.select("customer_id", "credit").iter_rows()) == {
        f"C-{n}": Decimal(f"{n}.10") for n in range(3)
    }
    assert service.asked["C-1"] == 3
    assert lookup.stats.retries == 2


def test_retry_after_is_obeyed_or_a_failure(service: Service) -> None:
    service.faults["C-1"] = [faults.status(429, Retry_After="1")]
    service.faults["C-2"] = [faults.status(503, Retry_After="3600")]
    begun = time.monotonic()
    with opened(http(service)) as lookup:
        answer = lookup.answer(keys("C-1", "C-2"))
    assert 1 <= time.monotonic() - begun < 3
    assert answer.rows["customer_id"].to_list() == ["C-1"]
    assert answer.failed is not None
    assert answer.failed.rows() == [("C-2", f"{service.url}: answers 503")]
    assert service.asked["C-2"] == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (faults.status(403), "answers 403"),
        (faults.status(301, Location="http://evil.example/x?secret=1"), "redirects to evil.example, which is refused"),
        (faults.status(302, Location="/elsewhere"), "redirects to another path, which is refused"),
        (faults.body(b"{" + b" " * 10_000_000), "over 1,048,576 bytes"),
        (faults.body(b'{"customer_id": "C-1", "country": "DE", "credit": "x"}'), "credit: Input should be a valid dec"),
        (faults.body(b'{"customer_id": "C-1", "country": "DE"}'), "credit: Field required"),
        (faults.body(b'{"customer_id": "C-2", "country": "DE", "credit": "1"}'), "answers for another key, C-2"),
        (faults.body(b"<html>"), "Invalid JSON"),
        (faults.body(b"[]"), "Input should be an object"),
        (faults.body(b"{}{}"), "Invalid JSON"),
        (faults.body(b"{},\n{}"), "Invalid JSON"),
        (faults.body(b"  \n"), "the answer is empty"),
        (faults.status(302, Location="http://u:secret@evil.example:8/"), "redirects to evil.example:8, which"),
        (lambda r: faults.reply(r, 200, b"\x1f\x8b", Content_Encoding="gzip"), "compressed"),
    ],
)
def test_what_will_not_pass_is_told_and_not_tried_again_nor_kept(
    service: Service, fault: Callable[..., bool], words: str
) -> None:
    service.faults["C-1"] = [fault]
    with opened(http(service)) as lookup:
        answer = lookup.answer(keys("C-0", "C-1"))
        assert answer.rows["customer_id"].to_list() == ["C-0"]
        assert answer.failed is not None
        assert answer.failed["customer_id"].to_list() == ["C-1"]
        assert words in answer.failed["error"][0]
        assert "secret" not in answer.failed["error"][0]
        assert service.asked["C-1"] == 1
        assert lookup.answer(keys("C-1")).rows.height == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'[{"customer_id": "C-1", "country": "DE"}]', "credit: Field required"),
        (json.dumps([faults.customer("C-1")] * 2).encode(), "'C-1' stands in the answer more than once"),
        (b'{"oops": ', "records"),
        (b"", "the answer is empty"),
        (b"null", "should be an object"),
        (json.dumps([faults.customer("c-1")]).encode(), "answers for another key, c-1"),
    ],
)
def test_a_batch_that_is_wrong_fails_all_of_its_keys(service: Service, body: bytes, words: str) -> None:
    service.faults[""] = [faults.body(body)]
    with opened(batched(service, 2, limits=replace(QUICK, concurrency=1))) as lookup:
        answer = lookup.answer(keys("C-1", "C-2", "C-3"))
    assert answer.rows["customer_id"].to_list() == ["C-3"]
    assert answer.failed is not None
    assert answer.failed["customer_id"].to_list() == ["C-1", "C-2"]


def test_the_retries_of_a_run_are_limited(service: Service) -> None:
    service.faults[""] = [faults.status(500)] * 1000
    with opened(http(service, limits=replace(QUICK, retries=5, failures=1000))) as lookup:
        answer = lookup.answer(keys(*(f"C-{n}" for n in range(30))))
    assert answer.failed is not None
    assert answer.failed.height == 30
    assert lookup.stats.calls == 35


def test_the_breaker_opens_and_closes(service: Service) -> None:
    service.faults[""] = [faults.status(500)] * 5
    limits = replace(QUICK, concurrency=1, attempts=1, failures=5, reset_seconds=0.2)
    with opened(http(service, limits=limits)) as lookup:
        first = lookup.answer(keys(*(f"C-{n}" for n in range(20))))
        assert first.failed is not None
        assert first.failed.height == 20
        assert "not asked, after 5 failures in a row" in first.failed["error"][-1]
        assert service.asked.total() == 5, "open: the others were not asked"
        time.sleep(0.25)
        assert lookup.answer(keys("C-1", "C-2", "C-3")).failed is None, "the probe worked: closed"


def test_the_breaker_by_the_clock() -> None:
    now = 0.0
    breaker = CircuitBreaker(2, 10, lambda: now)
    breaker.failed()
    breaker.worked()
    breaker.failed()
    assert breaker.wait_seconds() == 0
    breaker.failed()
    assert (breaker.wait_seconds(), breaker.opened) == (10, 1)
    now = 10
    assert breaker.wait_seconds() == 0, "one probe"
    assert breaker.wait_seconds() == 10, "and no other"
    breaker.failed()
    assert (breaker.wait_seconds(), breaker.opened) == (10, 2)
    now = 20
    assert breaker.wait_seconds() == 0
    breaker.gave_up()
    assert breaker.wait_seconds() == 0, "another probe, where the first was cancelled"
    breaker.worked()
    assert breaker.wait_seconds() == breaker.wait_seconds() == 0


def test_the_pace_is_kept(service: Service) -> None:
    begun = time.monotonic()
    with opened(http(service, limits=replace(QUICK, per_second=100))) as lookup:
        lookup.answer(keys(*(f"C-{n}" for n in range(31))))
    assert time.monotonic() - begun >= 0.3
    asyncio.run(Pace(None, time.monotonic).turn())


def test_it_works_inside_a_running_loop_and_from_threads(service: Service) -> None:
    with opened(http(service)) as lookup:

        async def main() -> int:
            return lookup.answer(keys("C-1", "C-2")).rows.height

        assert asyncio.run(main()) == 2
        heights: list[int] = []
        threads = [
            threading.Thread(target=lambda: heights.append(lookup.answer(keys("C-1", "C-3", "C-4")).rows.height))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert heights == [3] * 8
    assert set(service.asked.values()) == {1}


def test_ctrl_c_ends_what_is_under_way(service: Service) -> None:
    service.delay = 0.3
    limits = replace(QUICK, timeout_seconds=60, concurrency=2)
    begun = time.monotonic()
    with opened(http(service, limits=limits)) as lookup:
        threading.Timer(0.1, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            lookup.answer(keys(*(f"C-{n}" for n in range(100))))
    assert time.monotonic() - begun < 2
    asked = service.asked.total()
    time.sleep(0.4)
    assert service.asked.total() == asked <= 4


def test_keys_are_quoted_and_never_steps_in_the_path(service: Service) -> None:
    odd = ["a/b", "../up", "ä ö", "x?y=1", "#", "%2e", "a&b"]
    with opened(http(service)) as lookup:
        answer = lookup.answer(keys(*odd, "..", ".", ""))
    assert sorted(answer.rows["customer_id"]) == sorted(odd)
    assert answer.failed is None
    assert set(service.asked) == set(odd)


def test_the_token_comes_from_the_settings_and_is_told_to_nobody_else(
    service: Service, monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    monkeypatch.setenv("ASSAY_SECRETS", '{"crm": "s3cret"}')
    settings = Settings.load()
    assert "s3cret" not in repr(settings)
    with opened(http(service, token="crm"), settings) as lookup:
        lookup.answer(keys("C-1"))
        assert "s3cret" not in repr(lookup)
    assert service.headers[0]["authorization"] == "Bearer s3cret"
    with pytest.raises(ConfigurationError, match='there is no secret "crm"'), opened(http(service, token="crm")):
        pass
    monkeypatch.setenv("ASSAY_SECRETS", "{'crm': 's3cret'}")
    with pytest.raises(ConfigurationError, match="secrets") as wrong:
        Settings.load()
    assert "s3cret" not in str(wrong.value)


@pytest.mark.parametrize(
    ("url", "told", "words"),
    [
        ("http://127.0.0.1:9/{customer_id}", {}, "of a private network or this machine; to ask it, name it"),
        ("http://localhost:9/{customer_id}", {}, "of a private network or this machine"),
        ("http://169.254.169.254/{customer_id}", {}, "of a private network or this machine"),
        ("http://[::1]/{customer_id}", {}, "of a private network or this machine"),
        ("http://a.example/{customer_id}", {"hosts": ["b.example"]}, "host a.example is not allowed; allowed: b.exa"),
        ("http://u:p@a.example/{customer_id}", {"hosts": ["a.example"]}, "a password in a URL is seen by all"),
        ("ftp://a.example/{customer_id}", {"hosts": ["a.example"]}, "no http:// or https:// address"),
        ("http://{customer_id}.example/", {"hosts": ["a.example"]}, "a key must not choose the host"),
        ("http://a.example/", {"hosts": ["a.example"]}, "has no place for the key {customer_id}"),
        ("http://a.example/{customer}", {"hosts": ["a.example"]}, 'no parameter or key "customer"'),
        ("http://no-such-host.invalid/{customer_id}", {}, "is not known"),
        ("http://[64:ff9b::7f00:1]/{customer_id}", {}, "of a private network or this machine"),
        ("http://[::ffff:10.0.0.1]/{customer_id}", {}, "of a private network or this machine"),
        ("http://224.0.0.1/{customer_id}", {}, "of a private network or this machine"),
        ("http://a.example:99999/{customer_id}", {"hosts": ["a.example"]}, "no valid host and port"),
        ("http://a.example:0/{customer_id}", {"hosts": ["a.example"]}, "no valid host and port"),
        ("http://a.example/x#{customer_id}", {"hosts": ["a.example"]}, "neither blanks nor #"),
        ("http://a.example/\n{customer_id}", {"hosts": ["a.example"]}, "neither blanks nor #"),
    ],
)
def test_what_may_not_be_asked_is_refused_before_anything_is(url: str, told: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as wrong, opened(Http(url, Customer, **told)):
        pass
    assert words in str(wrong.value)


def test_hosts_are_the_same_in_any_case(service: Service) -> None:
    lookup = Http(
        service.url.replace("127.0.0.1", "LocalHost") + "/customers/{customer_id}", Customer, hosts=["LOCALhost"]
    )
    with opened(lookup) as found:
        assert found.answer(keys("C-1")).rows.height == 1


@pytest.mark.parametrize("secret", ["s3cret\n", "s3 cret", "s3crét", "s3\x00cret", ""])
def test_a_token_that_no_header_can_hold_is_refused_and_not_shown(service: Service, secret: str) -> None:
    settings = Settings.model_validate({"secrets": {"crm": secret}})
    lookup = http(service, token="crm")
    with pytest.raises(ConfigurationError, match="that no header may hold") as wrong, opened(lookup, settings):
        pass
    assert not secret or secret not in str(wrong.value)


def test_a_key_has_its_time_however_slowly_the_answer_drips(service: Service) -> None:
    def drip(request: BaseHTTPRequestHandler) -> bool:
        text = json.dumps(faults.customer("C-1")).encode()
        request.send_response(200)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        with suppress(OSError):
            for byte in text:
                request.wfile.write(bytes([byte]))
                request.wfile.flush()
                time.sleep(0.05)
        request.close_connection = True
        return True

    service.faults["C-1"] = [drip]
    begun = time.monotonic()
    with opened(http(service, limits=replace(QUICK, total_seconds=1.0))) as lookup:
        answer = lookup.answer(keys("C-1", "C-2"))
    assert time.monotonic() - begun < 2.5
    assert answer.rows["customer_id"].to_list() == ["C-2"]
    assert answer.failed is not None
    assert "no whole answer in 1 s (HttpLimits.total_seconds)" in answer.failed["error"][0]


def test_what_went_wrong_before_the_time_was_over_is_told(service: Service) -> None:
    service.faults["C-1"] = [faults.status(503, Retry_After="1")]
    with opened(http(service, limits=replace(QUICK, total_seconds=0.3))) as lookup:
        answer = lookup.answer(keys("C-1"))
    assert answer.failed is not None
    assert answer.failed["error"][0].endswith("(HttpLimits.total_seconds); before that: answers 503")


def test_waiting_for_a_place_in_line_takes_nothing_of_the_time_of_a_key(service: Service) -> None:
    limits = replace(QUICK, per_second=8, total_seconds=1.0, concurrency=12, timeout_seconds=5)
    with opened(http(service, limits=limits)) as lookup:
        assert lookup.answer(keys(*(f"C-{n}" for n in range(12)))).failed is None


def test_a_retry_after_that_is_no_number_is_none(service: Service) -> None:
    service.faults["C-1"] = [faults.status(429, Retry_After="\u00b2"), faults.status(503, Retry_After="soon")]
    with opened(http(service)) as lookup:
        assert lookup.answer(keys("C-1")).failed is None
        assert (lookup.stats.calls, lookup.stats.retries) == (3, 2)


def test_what_the_breaker_keeps_back_is_no_call_made_again(service: Service) -> None:
    service.faults[""] = [faults.status(500)] * 1000
    with opened(http(service, limits=replace(QUICK, failures=3, reset_seconds=0.02, timeout_seconds=30))) as lookup:
        lookup.answer(keys(*(f"C-{n}" for n in range(200))))
        assert lookup.stats.calls == sum(service.asked.values())
        assert lookup.stats.retries == lookup.stats.calls - len(service.asked)


def test_a_kept_answer_that_todays_model_refuses_is_asked_for_again(service: Service, tmp_path: Path) -> None:
    class Grown(Customer):
        email: str

    settings = Settings(project=tmp_path)
    with opened(http(service, keep="kept.db"), settings) as lookup:
        assert lookup.answer(keys("C-1", "C-2")).rows.height == 2
    new = json.dumps(faults.customer("C-1") | {"email": "a@b.example"}).encode()
    service.faults["C-1"] = [faults.body(new)]
    with opened(replace(http(service, keep="kept.db"), model=Grown), settings) as lookup:
        answer = lookup.answer(keys("C-1", "C-2"))
        assert answer.rows["email"].to_list() == ["a@b.example"]
        assert answer.failed is not None
        assert answer.failed["customer_id"].to_list() == ["C-2"]
        assert (lookup.stats.hits, lookup.stats.calls) == (0, 2)


def test_who_asks_by_another_token_is_not_given_the_answers_of_the_first(service: Service) -> None:
    cache, settings = TTLCache(60), Settings.model_validate({"secrets": {"one": "1", "two": "2"}})
    for token in ("one", "two", "one"):
        with opened(http(service, token=token, cache=cache), settings) as lookup:
            lookup.answer(keys("C-1"))
    assert service.asked["C-1"] == 2


def test_several_keys_are_told_apart_whatever_is_in_them(service: Service) -> None:
    class Place(BaseModel):
        a: str
        b: str

    pairs = pl.DataFrame({"a": ["x\x1fy", "x"], "b": ["z", "y\x1fz"]})
    service.records = {f"{a}/{b}": json.dumps({"a": a, "b": b}).encode() for a, b in pairs.rows()}
    lookup = Http(f"{service.url}/facts/{{a}}/{{b}}", Place, hosts=["127.0.0.1"])
    found = lookup.open(LookupContext((Path.cwd(),), Settings()), ("a", "b"))
    for _ in range(2):
        assert found.answer(pairs).rows.equals(pairs)
    found.close()
    assert found.stats.calls == 2


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="concurrency must be over 0"):
        HttpLimits(concurrency=0)
    with pytest.raises(ConfigurationError, match="total_seconds must be over 0"):
        HttpLimits(total_seconds=float("nan"))
    with pytest.raises(ConfigurationError, match="batch must be at least 1"):
        Http("http://a.example/{k}", Customer, batch=0)


def test_answers_outlive_the_run(service: Service, tmp_path: Path) -> None:
    settings = Settings(project=tmp_path)
    for _ in range(2):
        with opened(http(service, keep="kept/customers.db"), settings) as lookup:
            assert lookup.answer(keys("C-1", "X-1")).rows.height == 1
    assert service.asked == {"C-1": 1, "X-1": 1}
    assert lookup.stats.calls == 0


# ---- in a pipeline ---------------------------------------------------------------------------------------------


class Line(BaseModel):
    line: int
    customer_id: str
    net: Annotated[Decimal, Field(max_digits=12, decimal_places=2)]


def pipeline(lookup: Any, **told: Any) -> Pipeline:
    return Pipeline(
        "sales",
        source=Source("sales.jsonl", Line, key=["line"]),
        steps=[Filter("not_free", pl.col("net") > 0), Lookup(lookup, on="customer_id", **told)],
        outputs={
            "lines": Rows(to=Parquet("out/lines")),
            "by_country": GroupBy("country", net=Sum("net"), to=Sql("by_country")),
        },
    )


@pytest.fixture
def sales(project: Path) -> Path:
    rows = [{"line": n, "customer_id": f"C-{n * n % 97}", "net": f"{n}.25"} for n in range(3000)]
    (project / "sales.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return project


def published(folder: Path) -> tuple[bytes, list[tuple[Any, ...]]]:
    lines = pl.read_parquet(folder / "out/lines/*.parquet")
    by_country = lines.group_by("country").agg(pl.col("net").sum()).sort("country")
    return b"".join(p.read_bytes() for p in sorted((folder / "out/lines").glob("*.parquet"))), by_country.rows()


def test_cache_on_off_cold_warm_and_any_batch_publish_the_same_bytes(service: Service, sales: Path) -> None:
    names = sorted({f"C-{n * n % 97}" for n in range(3000)})
    table = Table(pl.DataFrame([faults.customer(name) for name in names]), Customer, name="customers")
    assert pipeline(table).run().status == "published"
    expected = published(sales)
    shared = TTLCache(3600, 10_000)
    ways = [
        (http(service), {}),
        (http(service, cache_seconds=0), {"batch_records": 200}),
        (http(service, cache=shared), {}),
        (http(service, cache=shared), {}),
        (http(service, keep="kept.db"), {"batch_records": 500}),
        (http(service, keep="kept.db"), {}),
        (batched(service, 40), {}),
        (batched(service, 10_000, cache_seconds=0), {"batch_records": 700}),
    ]
    for lookup, settings in ways:
        service.faults[""] = [faults.status(500), faults.reset, faults.half_a_body]
        result = pipeline(lookup).run(settings=Settings.load(sales, **settings))
        service.faults.clear()
        assert result.status == "published", result.error
        assert published(sales) == expected


def test_a_service_that_is_down_fails_the_run_with_the_count_and_the_first_error(service: Service, sales: Path) -> None:
    service.close()
    result = pipeline(http(service, limits=replace(QUICK, retries=3))).run()
    assert result.status == "failed"
    assert result.error is not None
    assert result.error["type"] == "LookupFailed"
    assert result.error["message"].startswith("lookup customers: 49 of 49 keys got no answer; the first, C-")
    assert "ConnectError" in result.error["message"]
    assert not (sales / "out/lines").exists()
    assert result.lookups["customers"]["errors"] == 49


def test_keys_without_an_answer_reject_their_rows_where_that_is_declared(service: Service, sales: Path) -> None:
    service.faults["C-1"] = [faults.status(403)]
    service.faults["C-4"] = [faults.status(404)]
    result = pipeline(http(service), on_error="reject").run()
    assert result.status == "published"
    reasons = {
        (r["errors"][0]["type"], r["errors"][0]["input"]): r["errors"][0]["msg"] for r in result.rejects.to_dicts()
    }
    assert reasons == {
        ("lookup_failed", "C-1"): f"No answer: {service.url}: answers 403",
        ("lookup_missing", "C-4"): "No row in lookup customers for C-4",
    }
    assert result.counts["read"] == sum(result.counts[name] for name in ("written", "filtered", "rejected"))
    figures = result.lookups["customers"]
    assert (figures["rows"], figures["distinct"], figures["calls"]) == (3000, 49, 49)
    assert (figures["missing"], figures["errors"]) == (1, 1)


def test_ten_thousand_rows_ask_for_two_hundred_keys_once(service: Service, project: Path) -> None:
    service.delay = 0.005
    rows = [{"line": n, "customer_id": f"C-{n % 200}", "net": "1.00"} for n in range(10_000)]
    (project / "sales.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = pipeline(http(service)).run(settings=Settings.load(project, batch_records=1000))
    assert result.status == "published"
    assert len(service.asked) == 200
    assert set(service.asked.values()) == {1}
    assert service.most <= 10


def test_the_record_may_lie_deeper_in_the_answer(service: Service) -> None:
    inner = json.dumps({"data": {"customers": [faults.customer("C-1")]}}, indent=2).encode()
    service.faults["C-1"] = [faults.body(inner)]
    with opened(http(service, record="data.customers")) as lookup:
        assert lookup.answer(keys("C-1")).rows["credit"].to_list() == [Decimal("1.10")]
        answer = lookup.answer(keys("C-2"))
    assert answer.failed is not None
    assert "C-2" in answer.failed["customer_id"]


def test_the_same_answers_are_the_same_run_and_others_another(service: Service, sales: Path) -> None:
    def run() -> bool:
        result = pipeline(http(service), on_missing="null", on_error="reject").run().raise_for_status()
        return result.repeats

    assert [run(), run()] == [False, True]
    key = "C-1"
    # The service has no answer for a key: its rows are rejected.
    service.faults[key] = [faults.status(500)] * 4
    assert run() is False
    # It says that there is no such key, which is another thing: its rows are published with null.
    service.faults[key] = [faults.status(404)]
    assert run() is False
    assert run() is False, "and now it knows it again"


def test_the_order_in_which_a_database_answers_makes_no_other_run(sales: Path) -> None:
    def run(order: int) -> bool:
        with sqlite3.connect("crm.db") as crm:
            crm.execute("DROP TABLE IF EXISTS customers")
            crm.execute("CREATE TABLE customers (customer_id TEXT, country TEXT, credit TEXT)")
            rows = [tuple(faults.customer(f"C-{n}").values()) for n in range(100)]
            crm.executemany("INSERT INTO customers VALUES (?, ?, ?)", rows[::order])
        crm.close()
        lookup = SqlTable("customers", Customer, "sqlite:///crm.db", whole_up_to=0)
        return pipeline(lookup, on_missing="null").run().raise_for_status().repeats

    assert [run(1), run(-1)] == [False, True]


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.campaign)])
def test_whatever_goes_wrong_an_answer_is_right_or_there_is_none(service: Service, size: int, seed: int) -> None:
    chance = random.Random(seed)
    wrong = [
        faults.status(500),
        faults.status(429, Retry_After="0"),
        faults.half_a_body,
        faults.reset,
        faults.body(b"<html>"),
        faults.body(b""),
        faults.body(b"[[]]"),
        faults.body(b'{"customer_id": "C-0", "country": "FR", "credit": "1"}'),
        faults.body(b'[{"customer_id": "C-0", "country": "FR", "credit": "1"}]' * 2),
        faults.status(302, Location="/elsewhere"),
    ]
    service.faults[""] = [
        chance.choice(wrong) if chance.random() < 0.3 else lambda _: False for _ in range(3000 if seed == 1 else 30_000)
    ]
    names = [f"{'X' if n % 5 == 0 else 'C'}-{n}" for n in range(1, 400 if seed == 1 else 8000)]
    limits = replace(QUICK, retries=100_000, failures=50, wait_seconds=0.001, timeout_seconds=5)
    lookup = batched(service, size, limits=limits) if size > 1 else http(service, limits=limits)
    with opened(lookup) as found:
        answer = found.answer(keys(*names))
        failed = set(answer.failed["customer_id"]) if answer.failed is not None else set()
        assert {row["customer_id"]: (row["country"], str(row["credit"])) for row in answer.rows.to_dicts()} == {
            name: (faults.customer(name)["country"], faults.customer(name)["credit"])
            for name in names
            if name not in failed and not name.startswith("X")
        }
        assert 0 < len(failed) < len(names) / 2
        # A call on a connection that the service has just closed it does not see.
        assert found.stats.calls >= service.asked.total()
