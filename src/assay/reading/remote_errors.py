"""What went wrong far away, in our words: the library's own hold addresses with their signatures."""

from __future__ import annotations

import re
from typing import Final

#: What a library's message holds -> what it means, in this order.
_MEANING: Final = (
    ("NoSuchBucket", "no such bucket"),
    ("ContainerNotFound", "no such container"),
    ("169.254.169.254", "no credentials: set those of the store in the environment (docs/reading.md names them)"),
    ("MissingAccount", "no storage account: set AZURE_STORAGE_ACCOUNT_NAME in the environment"),
    ("dns error", "the name of its host cannot be resolved"),
    ("ConnectionRefused", "its host refuses the connection"),
    (
        "InvalidCertificate",
        "the certificate of its server is not trusted; one of an authority of your own is named by SSL_CERT_FILE",
    ),
    ("BadScheme", "its endpoint is not encrypted; AWS_ALLOW_HTTP=true allows it"),
    ("TooManyRedirects", "its server sends from one address to another without end"),
    ("MissingContentLength", "its server does not say how long it is; fetch it into a file first"),
    ("TimedOut", "its server does not answer in time; run again"),
    ("IncompleteBody", "is cut off by its server; run again"),
    ("IncompleteMessage", "its server ends the connection; run again"),
    ("UnexpectedEof", "is cut off by its server; run again"),
    # Where the rest is asked for after a cut.
    ("Range request not supported", "is cut off by its server; run again"),
    ("empty path segment", "the names of objects may not have // in them"),
)
_BY_CLASS: Final = {
    "FileNotFoundError": "no such object",
    "PreconditionError": "changed while it was read; run again when it is complete",
}
_STATUS: Final = re.compile(r"status code: (\d{3}(?: [A-Za-z]+)*)")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")


def words_of(error: Exception) -> str:
    """What an error of the library means and what to do; nothing of an address or credential is in it."""
    text = str(error)
    for sign, meaning in _MEANING:
        if sign in text:
            return meaning
    kind = type(error).__name__
    status = _STATUS.search(text)
    code = _CODE.search(text)
    said = ", ".join(found[1] for found in (status, code) if found)
    if kind == "FileNotFoundError" and status and not status[1].startswith(("404", "410")):
        return f"its server answers {said}"
    if kind in _BY_CLASS:
        return _BY_CLASS[kind]
    if kind == "PermissionDeniedError":
        return (
            f"may not be read with these credentials ({said}); a store may say so of an object that is not there, too"
        )
    if kind == "UnauthenticatedError":
        return f"its server wants credentials ({said}); set those of the store in the environment"
    if said:
        return f"its server answers {said}"
    return f"cannot be fetched ({kind}: {_without_addresses(text)})"


def _without_addresses(text: str) -> str:
    return re.sub(r"\w+://\S+", "…", text.partition("\n")[0])
