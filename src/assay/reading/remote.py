"""Sources named by a URL: what they are called, and which kinds there are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from assay.errors import SourceError, unknown_name

if TYPE_CHECKING:
    from assay.reading.remote_objects import RemoteObject

#: Object stores, whose objects can be listed.
STORES: Final = ("s3", "gs", "az")
_SCHEMES: Final = (*STORES, "https", "http")
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


def is_url(path: str) -> bool:
    """Whether a source is named by a URL."""
    return _URL.match(path) is not None


def without_secrets(path: str) -> str:
    """A URL without user, password and query, which may hold a signature; another path as it is."""
    found = _URL.match(path)
    if not found:
        return path
    rest = found[2] if found[1] in STORES else re.split(r"[?#]", found[2], maxsplit=1)[0]
    host, slash, key = rest.partition("/")
    return f"{found[1]}://{host.rpartition('@')[2]}{slash}{key}"


def find(url: str) -> list[RemoteObject]:
    """The objects that a URL names, in a stable order.

    Args:
        url: `s3://bucket/key`, `gs://bucket/key` or `az://container/key`, where the key may be a glob of `*`, `?`,
            `[...]` and `**`; or `https://host/path`; `http://` on this machine only.

    Raises:
        SourceError: no such object, none that matches, it may not be read, or the store cannot be reached.
    """
    found = _URL.match(url)
    scheme, rest = (found[1].lower(), found[2]) if found else ("", "")
    if scheme not in _SCHEMES:
        advice = "; a file is named by its path alone" if scheme == "file" else ""
        raise SourceError(unknown_name("kind of address", f"{scheme}://", _SCHEMES) + advice, file=without_secrets(url))
    try:
        from assay.reading import remote_objects  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        message = "sources by URL need an extra: pip install 'assay[remote]'"
        raise SourceError(message, file=without_secrets(url)) from None
    if scheme in STORES:
        return remote_objects.find_in_store(url, scheme, rest)
    return [remote_objects.find_on_server(url, scheme)]
