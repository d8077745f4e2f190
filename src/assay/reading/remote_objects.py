"""Sources on other machines: objects of S3, Google and Azure stores, and files of HTTPS servers.

Credentials, endpoints and proxies are the library's affair (obstore): it takes them from the environment.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import re
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import obstore
from obstore import exceptions
from obstore.store import HTTPStore, from_url

from assay.errors import SourceError
from assay.reading.read_ahead import ReadAhead
from assay.reading.remote import without_secrets
from assay.reading.remote_errors import words_of

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import ObjectStore, RetryConfig

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: Bytes of one request, and requests under way at a time.
_BLOCK: Final = 4 * 1024 * 1024
_REQUESTS: Final = 4
#: Some seconds in all: who mistypes a name is told soon, and a server that stumbles is asked again.
_RETRIES: Final[RetryConfig] = {"max_retries": 5, "retry_timeout": dt.timedelta(seconds=60)}
#: How long a web server may keep us waiting for the next bytes; a whole file may take as long as it takes.
_SILENCE: Final = dt.timedelta(seconds=30)
_WHOLE: Final = dt.timedelta(days=7)
_CUT_OFF: Final = "is cut off by its server; run again"
_ERRORS: Final = (OSError, ValueError, exceptions.BaseError)


@dataclass(eq=False)
class RemoteObject:
    """One object of a store, or one file of a server.

    Attributes:
        url: As it was given.
        path: Its path, whose suffixes tell format and compression.
        size: Bytes.
    """

    url: str = field(repr=False)
    path: str
    size: int
    _store: ObjectStore = field(repr=False)
    _key: str = field(repr=False)
    #: Of the first answer: its tag, or else its time, and its size.
    _version: tuple[str | None, dt.datetime | None, int] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Its URL without what may be secret: user, password, query."""
        return without_secrets(self.url)

    @property
    def version(self) -> str:
        """Another text for every change of it, as far as its store tells.

        Raises:
            SourceError: the store tells nothing.
        """
        if self._version is None or self._version[:2] == (None, None):
            raise SourceError("its server does not say whether it has changed", file=self.name)
        return f"{self.name} {self._version}"

    def open(self) -> ReadAhead:
        """Its bytes, fetched some requests ahead; an object that is not the one it was before is an error."""
        fetch = _Fetch(self)
        return ReadAhead(fetch.blocks(), interrupt=fetch.interrupt)

    async def get(self, options: GetOptions) -> GetResult:
        """Ask for it; all answers must be of one version of it.

        Raises:
            SourceError: it changed.
        """
        if self._version is not None and self._version[0] is not None and not self._version[0].startswith("W/"):
            # A weak tag matches nothing.
            options["if_match"] = self._version[0]
        answer = await obstore.get_async(self._store, self._key, options=options)
        meta = answer.meta
        version = (meta["e_tag"], None if meta["e_tag"] else meta["last_modified"], meta["size"])
        if self._version is None:
            self._version, self.size = version, meta["size"]
        elif version != self._version:
            raise SourceError("changed while it was read; run again when it is complete", file=self.name)
        return answer


class _Fetch:
    """Fetches one object, some ranges at a time, or in one go from a server that knows no ranges.

    It runs in the thread of a `ReadAhead`, on an event loop of its own, so that a wait can be interrupted. No answer is
    left half read while nobody wants more: its server, or the library, would end it.
    """

    def __init__(self, remote: RemoteObject) -> None:
        self._remote = remote
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: asyncio.Task[Any] | None = None
        self._interrupted = False

    def blocks(self) -> Generator[bytes, None, None]:
        """The bytes in order.

        Raises:
            SourceError: it cannot be fetched, is cut off, or changed; all that lies before was given.
        """
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            # The first answer, alone, tells which version it is, and whether the server knows ranges. An empty object
            # has no range that could be asked for.
            first = runner.run(self._ranges([0]))[0] if self._remote.size else _NoRangesError()
            if isinstance(first, _NoRangesError):
                yield from self._whole(runner)
                return
            yield _sound(first)
            starts = range(_BLOCK, self._remote.size, _BLOCK)
            for done in range(0, len(starts), _REQUESTS):
                for block in runner.run(self._ranges(starts[done : done + _REQUESTS])):
                    yield _sound(block)

    def interrupt(self) -> None:
        """End a wait. Called from another thread."""
        self._interrupted = True
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._cancel)
            except RuntimeError:
                # The loop is closed: nothing waits any more.
                return

    def _cancel(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def _see_interrupt(self) -> None:
        self._waiting = asyncio.current_task()
        if self._interrupted:
            raise asyncio.CancelledError

    async def _ranges(self, starts: Sequence[int]) -> list[bytes | BaseException]:
        """Blocks that begin there, or why there is none."""
        self._see_interrupt()
        return await asyncio.gather(*map(self._range, starts), return_exceptions=True)

    async def _range(self, start: int) -> bytes:
        remote = self._remote
        try:
            answer = await remote.get({"range": (start, start + _BLOCK)})
            block = bytes(await answer.bytes_async())
        except exceptions.NotSupportedError:
            raise _NoRangesError from None
        except _ERRORS as error:
            raise SourceError(words_of(error), file=remote.name, offset=start) from None
        if len(block) != min(_BLOCK, remote.size - start):
            raise SourceError(_CUT_OFF, file=remote.name, offset=start + len(block))
        return block

    def _whole(self, runner: asyncio.Runner) -> Iterator[bytes]:
        stream = self._stream()

        async def advance() -> bytes:
            self._see_interrupt()
            return await anext(stream, b"")

        while block := runner.run(advance()):
            yield block

    async def _stream(self) -> AsyncGenerator[bytes, None]:
        remote = self._remote
        given = 0
        try:
            answer = await remote.get({})
            async for block in answer.stream(min_chunk_size=_BLOCK // 4):
                given += len(block)
                yield bytes(block)
        except _ERRORS as error:
            raise SourceError(words_of(error), file=remote.name, offset=given) from None
        if given != remote.size:
            raise SourceError(_CUT_OFF, file=remote.name, offset=given)


def _sound(block: bytes | BaseException) -> bytes:
    if isinstance(block, BaseException):
        raise block
    return block


class _NoRangesError(Exception):
    """The server gives whole files only."""


def find_in_store(url: str, scheme: str, rest: str) -> list[RemoteObject]:
    """The objects of a store; see `remote.find`."""
    name = without_secrets(url)
    bucket, _, key = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        kind = "container" if scheme == "az" else "bucket"
        raise SourceError(f"names no {kind}: write {scheme}://{kind}/orders/*.jsonl", file=name)
    if not key or key.endswith("/"):
        raise SourceError(f"is a folder; name the objects, for example {name.rstrip('/')}/*.jsonl", file=name)
    parts = key.split("/")
    plain = next((i for i, part in enumerate(parts) if re.search(r"[*?[]", part)), len(parts))
    try:
        store = from_url(f"{scheme}://{bucket}", retry_config=_RETRIES)
        if plain == len(parts):
            return [RemoteObject(url, key, obstore.head(store, key)["size"], store, key)]
        prefix = "/".join(parts[:plain])
        if plain == len(parts) - 1:
            metas = list(obstore.list_with_delimiter(store, prefix)["objects"])
        else:
            metas = list(obstore.list(store, prefix).collect())
    except _ERRORS as error:
        raise SourceError(words_of(error), file=name) from None
    matching = sorted((m["path"], m["size"]) for m in metas if _matches(m["path"].split("/"), parts))
    if not matching:
        raise SourceError("no object matches", file=name, missing=True)
    return [RemoteObject(f"{scheme}://{bucket}/{one}", one, size, store, one) for one, size in matching]


def _matches(parts: list[str], pattern: list[str]) -> bool:
    """As a glob of files: `**` stands for any number of folders, and what begins with a dot must be asked for."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        below = parts and not parts[0].startswith(".") and _matches(parts[1:], pattern)
        return bool(below) or _matches(parts, pattern[1:])
    if not parts or (parts[0].startswith(".") and not pattern[0].startswith(".")):
        return False
    return fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def find_on_server(url: str, scheme: str) -> RemoteObject:
    """The file of a web server; see `remote.find`."""
    name = without_secrets(url)
    try:
        split = urlsplit(url)
        host = split.hostname or ""
    except ValueError:
        raise SourceError("is no valid address", file=name) from None
    if not host:
        raise SourceError("names no host", file=name)
    if "@" in split.netloc:
        message = "user and password in an address are refused; ask for a signed address, or use s3://, gs:// or az://"
        raise SourceError(message, file=name)
    if scheme == "http" and not _is_this_machine(host):
        raise SourceError("is not encrypted: others could read and change it; use https://", file=name)
    if "*" in split.path:
        raise SourceError("a web server cannot list its files; name each", file=name)
    if split.path.endswith("/") or not split.path:
        raise SourceError("is a folder; name the file", file=name)
    store = HTTPStore(
        split._replace(fragment="").geturl(),
        client_options={"allow_http": scheme == "http", "timeout": _WHOLE, "read_timeout": _SILENCE},
        retry_config=_RETRIES,
    )
    try:
        try:
            meta = obstore.head(store, "")
        except (FileNotFoundError, exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
            # Some servers refuse to be asked like this, and so do addresses that are signed for reading.
            meta = obstore.get(store, "").meta
    except _ERRORS as error:
        raise SourceError(words_of(error), file=name) from None
    return RemoteObject(url, split.path, meta["size"], store, "")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
