"""A lookup by HTTP: distinct keys only, through a cache, some at a time, and never more than the service can bear."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import SplitResult, quote, urlsplit

import polars as pl
from pydantic import BaseModel

from assay.errors import ConfigurationError
from assay.lookups.cache import TTLCache
from assay.lookups.protocol import LookupContext, need_keys
from assay.lookups.registry import LookupFactory
from assay.records import Format, RecordReader

if TYPE_CHECKING:
    from assay.lookups.http_client import OpenHttp

_PLACE = re.compile(r"\{(\w+)\}")
_TOKEN = re.compile(r"[!-~]+")
_UNFIT = re.compile(r"[\x00-\x20\x7f#]")
#: Which Python before 3.12 counts as public.
_PROTOCOL = ipaddress.ip_network("192.0.0.0/24")
_SHOWN = {code: f"\\x{code:02x}" for code in (*range(32), 127)}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class HttpLimits:
    """How a service is treated.

    Attributes:
        concurrency: Calls under way at once.
        per_second: Calls a second, evenly spaced; None: as many as `concurrency` lets through.
        timeout_seconds: For connecting, and between two parts of an answer.
        total_seconds: For one key, all its tries together.
        attempts: Tries a key.
        retries: Tries again in the whole run, all keys together: what is down is not asked for ever.
        wait_seconds: Before the first try again; it doubles, with as much again by chance.
        max_wait_seconds: Longest wait, also where the service asks for a longer one by Retry-After: that is a failure.
        failures: Failures in a row after which the circuit breaker opens.
        reset_seconds: How long it stays open before one call is tried.
        max_bytes: Longest answer.
    """

    concurrency: int = 10
    per_second: float | None = None
    timeout_seconds: float = 10.0
    total_seconds: float = 60.0
    attempts: int = 4
    retries: int = 100
    wait_seconds: float = 0.1
    max_wait_seconds: float = 30.0
    failures: int = 10
    reset_seconds: float = 5.0
    max_bytes: int = 1024 * 1024

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not (value > 0 or (value == 0 and name in {"retries", "wait_seconds"})):
                raise ConfigurationError(f"HttpLimits: {name} must be over 0, not {value}")


@LookupFactory.register("http")
@dataclass(frozen=True)
class Http:
    """A service that is asked by GET; what it answers is validated like a record.

    A status of 404 or 410 says that there is no such key. Redirects are refused. Proxies and credentials of the
    environment are not used.

    Args:
        url: Such as "https://crm.example/customers/{customer_id}": in braces a key column, or a parameter of the
            pipeline. With `batch` the key stands for several, with commas between them.
        model: The model of one answer; it has the key columns too, and they must be those asked for.
        hosts: The hosts that may be asked; by default that of `url`. An address of a private network, or of this
            machine, is asked only where it is named here.
        record: Where the records are in the JSON, such as "data.customers"; by default the document
            (of a batch, its top array).
        batch: Keys a call. More than 1 needs a lookup by one key column.
        token: Name of a secret of the settings, sent as bearer token.
        limits: See `HttpLimits`.
        cache_seconds: How long an answer is kept; 0: only for the rows at hand.
        cache_size: How many answers are kept.
        missing_seconds: How long it is kept that a key is not there; by default as long as an answer.
        keep: A file, relative to the project, in which answers outlive the run.
        cache: A cache of your own, to share it between lookups or runs; then the four above do not count.
        decimals: Precision and scale of Decimal fields that the model does not bound.
        name: What rejects and reports call it; by default the last fixed part of the path.
    """

    url: str
    model: type[BaseModel]
    hosts: Sequence[str] = ()
    record: str | None = None
    batch: int = 1
    token: str | None = None
    limits: HttpLimits = field(default_factory=HttpLimits)
    cache_seconds: float = 300.0
    cache_size: int = 100_000
    missing_seconds: float | None = None
    keep: str | None = None
    cache: TTLCache | None = field(default=None, compare=False)
    decimals: tuple[int, int] | None = None
    name: str = ""
    dated: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.name:
            fixed = [part for part in urlsplit(self.url).path.split("/") if part and "{" not in part]
            object.__setattr__(self, "name", fixed[-1] if fixed else "http")
        if self.batch < 1:
            raise ConfigurationError(f"lookup {self.name}: batch must be at least 1, not {self.batch}")

    def columns(self) -> pl.Schema:
        """The model's columns."""
        return RecordReader(self.model, Format("json", record=self.record, decimals=self.decimals)).schema

    def open(self, context: LookupContext, on: tuple[str, ...]) -> OpenHttp:
        """Check the address and make a client; nothing is asked yet."""
        where = f"lookup {self.name}"
        columns = self.columns()
        need_keys(self.name, on, columns)
        for key in on:
            if not (columns[key].is_integer() or columns[key] in (pl.String, pl.Date)):
                raise ConfigurationError(
                    f"the key {key} is {columns[key]}; a URL takes text, integers, dates", where=where
                )
        if self.batch > 1 and len(on) > 1:
            raise ConfigurationError("a batch is asked for by one key column", where=where)
        template = Template(context.fill(self.url, on), on, where)
        see_host(template.host, self.hosts, where)
        try:
            from assay.lookups.http_client import OpenHttp  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            if error.name not in {"httpx2", "stamina", "anyio"}:
                raise
            raise ConfigurationError("lookups by HTTP need an extra: pip install 'assay[http]'", where=where) from None
        token = context.secret(self.token, where) if self.token else None
        if token is not None and not _TOKEN.fullmatch(token):
            raise ConfigurationError(
                f'the secret "{self.token}" has a character that no header may hold, such as a blank or a line feed at '
                "its end",
                where=where,
            )
        kept = context.settings.project / self.keep if self.keep else None
        return OpenHttp(self, template, on, context.settings, token, kept)


class Template:
    """A URL with places for keys."""

    def __init__(self, url: str, on: Sequence[str], where: str) -> None:
        self._url = url
        parts = _parts(url, where)
        if parts.username is not None or parts.password is not None:
            raise ConfigurationError(
                "a password in a URL is seen by all: give token=, the name of a secret", where=where
            )
        if "{" in parts.netloc:
            raise ConfigurationError("a key must not choose the host", where=where)
        if parts.scheme not in {"http", "https"} or not parts.hostname or _UNFIT.search(url):
            raise ConfigurationError(
                f'"{url}" is no http:// or https:// address; it has neither blanks nor #'.translate(_SHOWN), where=where
            )
        lacking = [key for key in on if f"{{{key}}}" not in url]
        if lacking:
            raise ConfigurationError(f'"{url}" has no place for the key {{{lacking[0]}}}', where=where)
        self._in_path = frozenset(_PLACE.findall(parts.path))
        self.host = parts.hostname
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.fingerprint = hashlib.sha256(url.encode()).hexdigest()

    def fill(self, keys: dict[str, list[str]]) -> str | None:
        """The URL for some keys; None for an empty key, and where one would be a step in the path: no such thing is."""
        for name, texts in keys.items():
            if "" in texts or (name in self._in_path and not {".", ".."}.isdisjoint(texts)):
                return None
        return _PLACE.sub(lambda found: ",".join(quote(text, safe="") for text in keys[found[1]]), self._url)


def _parts(url: str, where: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if "{" not in parts.netloc and parts.port == 0:
            raise ValueError
    except ValueError:
        raise ConfigurationError("its URL has no valid host and port", where=where) from None
    return parts


def see_host(host: str, allowed: Sequence[str], where: str) -> None:
    """See that a host may be asked.

    Raises:
        ConfigurationError: it is not on the list, or it is inside and not named.
    """
    if host in {one.lower().removeprefix("[").removesuffix("]") for one in allowed}:
        return
    if allowed:
        raise ConfigurationError(f"the host {host} is not allowed; allowed: {', '.join(allowed)}", where=where)
    inside = [address for address in addresses(host, where) if not _is_public(address)]
    if inside:
        raise ConfigurationError(
            f"the host {host} is {inside[0]}, of a private network or this machine; to ask it, name it: "
            f"hosts=[{host!r}]",
            where=where,
        )


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        # What is carried inside is where it leads.
        carried = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if carried is not None:
            return _is_public(carried)
    return address.is_global and not address.is_multicast and address not in _PROTOCOL


def addresses(host: str, where: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses of a host.

    Raises:
        ConfigurationError: its name is not known.
    """
    try:
        return [ipaddress.ip_address(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        raise ConfigurationError(f"the host {host} is not known", where=where) from None
