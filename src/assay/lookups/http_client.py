"""The client of a lookup by HTTP, on a loop of its own: it works in a script, in a running loop, and from threads."""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx2
import polars as pl
import stamina
from anyio.from_thread import start_blocking_portal

from assay.errors import AssayError, ConfigurationError, LookupFailed
from assay.lookups.breaker import CircuitBreaker, Pace
from assay.lookups.cache import TTLCache
from assay.lookups.concurrent import process_batch, result_of
from assay.lookups.disk import DiskTier
from assay.lookups.judging import RowJudge, one_line
from assay.lookups.protocol import Answer, LookupStats
from assay.reading import ProcessorFactory
from assay.result import Err, Ok
from assay.settings import Settings

if TYPE_CHECKING:
    from assay.lookups.http import Http, Template

#: Worth another try: the service is busy, or something between us and it.
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_GONE: Final = frozenset({404, 410})
_ABSENT: Final[Any] = object()

Texts = tuple[str, ...]

# Tries are counted, not written on the terminal; who has set up logging sees them.
logging.getLogger("stamina").addHandler(logging.NullHandler())


class _Again(Exception):  # noqa: N818 - it asks for another try
    """A failure that may pass; `after` is when the service, or the breaker, wants to be asked again."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class OpenHttp:
    """A client and its cache.

    Raises:
        ConfigurationError: the file that is to keep answers cannot be used.
    """

    def __init__(
        self,
        definition: Http,
        template: Template,
        on: Sequence[str],
        settings: Settings,
        token: str | None,
        kept: Path | None,
    ) -> None:
        self._definition = definition
        self._template = template
        self._on = list(on)
        self._limits = limits = definition.limits
        self._judge = RowJudge(definition.name, definition.model, definition.decimals, settings)
        self._json = ProcessorFactory.create("json", record=definition.record)
        self._breaker = CircuitBreaker(limits.failures, limits.reset_seconds, time.monotonic)
        self._pace = Pace(limits.per_second, time.monotonic)
        self._left = limits.retries
        self._last = ""
        # Who asks by another token may be answered otherwise.
        self._space = f"{template.fingerprint} {definition.record or ''} {definition.token or ''} {','.join(on)} "
        self.stats = LookupStats()
        with ExitStack() as stack:
            self._cache = self._open_cache(stack, kept)
            headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "assay"}
            if token is not None:
                headers["authorization"] = f"Bearer {token}"
            client = httpx2.AsyncClient(
                headers=headers,
                timeout=limits.timeout_seconds,
                limits=httpx2.Limits(max_connections=limits.concurrency, max_keepalive_connections=limits.concurrency),
                follow_redirects=False,
                trust_env=False,
            )
            self._portal = stack.enter_context(start_blocking_portal())
            self._client = stack.enter_context(self._portal.wrap_async_context_manager(client))
            self._stack = stack.pop_all()

    @property
    def fingerprint(self) -> str:
        """Hash of where it is: what it holds is only known by key."""
        return self._template.fingerprint

    def answer(self, keys: pl.DataFrame) -> Answer:
        """Ask for the keys that the cache does not know."""
        texts = [tuple(map(str, row)) for row in keys.select(self._on).iter_rows()]
        raws: list[Any] = [_ABSENT] * len(texts)
        if self._cache is not None:
            raws = [self._cache.get(self._key(one), _ABSENT) for one in texts]
        known = [index for index, raw in enumerate(raws) if raw is not _ABSENT]
        errors = self._ask(texts, raws)
        rows, wrong = self._judged(texts, raws)
        # What the model of an earlier run took, today's may not: that is no answer, and the service may have a better.
        outdated = [index for index in known if index in wrong]
        if outdated:
            self._forget(texts, outdated)
            for index in outdated:
                raws[index] = _ABSENT
            errors |= self._ask(texts, raws, outdated)
            rows, wrong = self._judged(texts, raws)
        self.stats.hits += len(known) - len(outdated)
        self._forget(texts, wrong)
        errors |= wrong
        if not errors:
            return Answer(rows)
        order = sorted(errors)
        failed = keys.select(self._on)[order].with_columns(error=pl.Series([errors[i] for i in order], dtype=pl.String))
        return Answer(rows, failed)

    def close(self) -> None:
        """Close the connections and end the loop."""
        self._stack.close()

    def _open_cache(self, stack: ExitStack, kept: Path | None) -> TTLCache | None:
        definition = self._definition
        if definition.cache is not None:
            return definition.cache
        if not definition.cache_seconds:
            if kept is not None:
                raise ConfigurationError("keep= needs cache_seconds over 0", where=f"lookup {definition.name}")
            return None
        tier = DiskTier(kept) if kept is not None else None
        if tier is not None:
            stack.callback(tier.close)
        return TTLCache(
            definition.cache_seconds, definition.cache_size, negative_ttl_seconds=definition.missing_seconds, tier=tier
        )

    def _key(self, texts: Texts) -> str:
        return self._space + (texts[0] if len(texts) == 1 else repr(texts))

    def _forget(self, texts: list[Texts], indexes: Iterable[int]) -> None:
        if self._cache is not None:
            for index in indexes:
                self._cache.discard(self._key(texts[index]))

    def _ask(self, texts: list[Texts], raws: list[Any], indexes: Sequence[int] | None = None) -> dict[int, str]:
        """Ask for the keys (by default those without an answer) and put the answers in their places; the errors."""
        unknown = [index for index, raw in enumerate(raws) if raw is _ABSENT] if indexes is None else indexes
        errors: dict[int, str] = {}
        if unknown:
            for index, found in zip(unknown, self._run([texts[index] for index in unknown]), strict=True):
                match found:
                    case Ok(raw):
                        raws[index] = raw
                    case Err(error):
                        errors[index] = (
                            str(error) if isinstance(error, AssayError) else f"{type(error).__name__} {error}"
                        )
        return errors

    def _run(self, texts: list[Texts]) -> list[Ok[bytes | None] | Err[Exception]]:
        future = self._portal.start_task_soon(self._load, texts)
        try:
            return result_of(future)
        except BaseException:
            # Ctrl-C in the thread that waits: what is under way ends too.
            future.cancel()
            raise

    async def _load(self, texts: list[Texts]) -> list[Ok[bytes | None] | Err[Exception]]:
        size = self._definition.batch
        if size == 1:
            return await process_batch(texts, self._load_one, self._limits.concurrency)
        parts = [texts[start : start + size] for start in range(0, len(texts), size)]
        made: list[Ok[bytes | None] | Err[Exception]] = []
        for part, result in zip(
            parts, await process_batch(parts, self._load_some, self._limits.concurrency), strict=True
        ):
            match result:
                case Ok(raws):
                    made += [Ok(raw) for raw in raws]
                case Err(error):
                    made += [Err(error)] * len(part)
        return made

    async def _load_one(self, texts: Texts) -> bytes | None:
        async def load() -> bytes | None:
            url = self._template.fill({key: [text] for key, text in zip(self._on, texts, strict=True)})
            body = await self._get(url) if url is not None else None
            if body is None:
                return None
            return self._only(body)

        if self._cache is None:
            return await load()
        return await self._cache.aget_or_load(self._key(texts), load)

    async def _load_some(self, texts: list[Texts]) -> list[bytes | None]:
        (key,) = self._on
        askable = [text for (text,) in texts if text and "," not in text]
        url = self._template.fill({key: askable}) if askable else None
        records = self._cut(await self._get(url, missing=False) or b"") if url is not None else []
        judged = self._judge.lines(records)
        for error in judged.wrong.values():
            # Whose it is cannot be known for certain, so that all of the batch go without.
            raise LookupFailed(f"{self._template.origin}: {error}")
        numbers: dict[str, int] = {}
        wanted = set(askable)
        for number, value in judged.numbered.select("_record", key).iter_rows():
            if str(value) not in wanted:
                # Were it left out, a key that the service writes otherwise (C-1 for c-1) would be told as missing.
                raise LookupFailed(f"{self._template.origin}: answers for another key, {value}")
            if numbers.setdefault(str(value), number) != number:
                raise LookupFailed(f"{self._template.origin}: {value!r} stands in the answer more than once")
        raws = [records[numbers[text]] if text in numbers else None for (text,) in texts]
        if self._cache is not None:
            for one, raw in zip(texts, raws, strict=True):
                self._cache.set(self._key(one), raw)
        return raws

    def _only(self, body: bytes) -> bytes:
        """The one record of an answer."""
        if self._definition.record is None and body.strip():
            # The model's verdict tells whether this is one JSON object; to cut it first would take longer than that.
            return one_line(body)
        records = self._cut(body)
        if len(records) != 1:
            raise LookupFailed(f"{self._template.origin}: the answer has {len(records)} records, not one")
        return records[0]

    def _cut(self, body: bytes) -> list[bytes]:
        """The records of an answer, each in one line."""
        if not body.strip():
            raise LookupFailed(f"{self._template.origin}: the answer is empty")
        try:
            raws = list(self._json.split(io.BytesIO(body)))
        except AssayError as error:
            raise LookupFailed(f"{self._template.origin}: the answer is no JSON as expected: {error}") from None
        for raw in raws:
            if raw.problem is not None:
                raise LookupFailed(f"{self._template.origin}: {raw.problem.msg}")
        return [one_line(raw.data) for raw in raws]

    async def _get(self, url: str, *, missing: bool = True) -> bytes | None:
        """The body of an answer; None where it says that there is no such thing."""
        limits = self._limits
        asking = _Asking(asyncio.timeout(limits.total_seconds))
        tries = stamina.retry_context(
            self._may_retry,
            attempts=limits.attempts,
            timeout=None,
            wait_initial=limits.wait_seconds,
            wait_jitter=limits.wait_seconds,
            wait_max=limits.max_wait_seconds,
        )
        try:
            async with asking.time:
                async for attempt in tries:
                    with attempt:
                        return await self._try(url, asking, missing=missing)
        except _Again as error:
            raise LookupFailed(f"{self._template.origin}: {error}") from None
        except TimeoutError:
            before = f"; before that: {asking.last}" if asking.last else ""
            raise LookupFailed(
                f"{self._template.origin}: no whole answer in {limits.total_seconds:g} s "
                f"(HttpLimits.total_seconds){before}"
            ) from None
        raise LookupFailed(f"{self._template.origin}: not asked")  # pragma: no cover - stamina tries at least once

    def _may_retry(self, error: Exception) -> bool | float:
        if not isinstance(error, _Again) or self._left <= 0:
            return False
        if error.after is not None and error.after > self._limits.max_wait_seconds:
            return False
        self._left -= 1
        # Of 0 seconds, stamina would think that it means no.
        return True if error.after is None else max(error.after, 0.01)

    async def _try(self, url: str, asking: _Asking, *, missing: bool) -> bytes | None:
        wait = self._breaker.wait_seconds()
        if wait:
            raise _Again(f"not asked, after {self._limits.failures} failures in a row; the last: {self._last}", wait)
        alive: bool | None = None
        begun: float | None = None
        try:
            await self._turn(asking)
            self.stats.retries += asking.calls > 0
            asking.calls += 1
            begun = time.monotonic()
            async with self._client.stream("GET", url) as response:
                # Who says when to come again is alive.
                alive = response.status_code == 429 or response.status_code not in _BUSY
                body = await self._read(response, missing=missing)
        except httpx2.LocalProtocolError as error:
            # Its words may hold a header, and that a secret.
            raise LookupFailed(f"{self._template.origin}: {type(error).__name__}: the request cannot be sent") from None
        except httpx2.TransportError as error:
            alive = False
            self._last = asking.last = f"{type(error).__name__} {error}".strip()
            raise _Again(self._last) from None
        except _Again as error:
            asking.last = str(error)
            raise
        finally:
            if begun is not None:
                self.stats.called(time.monotonic() - begun)
            if asking.time.expired():
                alive = False
                self._last = f"no whole answer in {self._limits.total_seconds:g} s"
            if alive is None:
                self._breaker.gave_up()
            elif alive:
                self._breaker.worked()
            else:
                self._breaker.failed()
        return body

    async def _turn(self, asking: _Asking) -> None:
        """Wait for a place in line, which takes nothing of the time that a key has."""
        loop = asyncio.get_running_loop()
        left = (asking.time.when() or loop.time()) - loop.time()
        asking.time.reschedule(None)
        await self._pace.turn()
        asking.time.reschedule(loop.time() + left)

    async def _read(self, response: httpx2.Response, *, missing: bool) -> bytes | None:
        if response.status_code in _BUSY:
            self._last = f"answers {response.status_code}"
            raise _Again(self._last, _after(response.headers.get("retry-after")))
        if missing and response.status_code in _GONE:
            return None
        if response.is_redirect:
            to = _host(response.headers.get("location", "")) or "another path"
            raise LookupFailed(f"{self._template.origin}: redirects to {to}, which is refused; give the final URL")
        if response.status_code != 200:
            raise LookupFailed(f"{self._template.origin}: answers {response.status_code}")
        return await self._body(response)

    async def _body(self, response: httpx2.Response) -> bytes:
        most = self._limits.max_bytes
        if response.headers.get("content-encoding", "identity") != "identity":
            raise LookupFailed(f"{self._template.origin}: the answer is compressed, which was not asked for")
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > most:
                raise LookupFailed(f"{self._template.origin}: the answer is over {most:,} bytes (HttpLimits.max_bytes)")
        return bytes(body)

    def _judged(self, texts: list[Texts], raws: list[Any]) -> tuple[pl.DataFrame, dict[int, str]]:
        """Validate the answers, and see that they are of the keys asked for: the rows, and by index what is wrong."""
        asked = [index for index, raw in enumerate(raws) if isinstance(raw, bytes)]
        judged = self._judge.lines(raws[index] for index in asked)
        errors = {asked[number]: f"{self._template.origin}: {error}" for number, error in judged.wrong.items()}
        numbered = judged.numbered
        for number, *values in numbered.select("_record", *self._on).iter_rows():
            if tuple(map(str, values)) != texts[asked[number]]:
                errors[asked[number]] = (
                    f"{self._template.origin}: answers for another key, {' / '.join(map(str, values))}"
                )
        wrong = [number for number, index in enumerate(asked) if index in errors]
        rows = numbered.filter(~pl.col("_record").is_in(wrong)).drop("_record") if wrong else judged.frame
        return rows, errors


@dataclass
class _Asking:
    """One key (or batch): the time it has, how often it was asked for, and what became of the last time."""

    time: asyncio.Timeout
    calls: int = 0
    last: str = ""


def _host(location: str) -> str:
    """The host and port of an address, without what else a stranger has put there."""
    try:
        parts = urlsplit(location)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "no address"
    return f"{parts.hostname or ''}{port}"


def _after(header: str | None) -> float | None:
    """Seconds to wait, as a Retry-After has them: a number, or a date."""
    if header is None:
        return None
    if header.isascii() and header.strip().isdigit():
        return float(header)
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
