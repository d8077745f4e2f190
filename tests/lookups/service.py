"""A real HTTP server on loopback that counts what it is asked, and misbehaves on request."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

Fault = Callable[[BaseHTTPRequestHandler], bool]


class Service:
    """Answers /customers/KEY, and /customers?ids=A,B; keys that begin with X are not there.

    Attributes:
        asked: Calls by key.
        most: Calls that were under way at once.
        faults: By key, what the next calls meet instead; a fault is taken once. Under "" those of any key.
        delay: Seconds that each answer takes.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.under_way = self.most = 0
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.delay = 0.0
        #: Where it is given, what is served under /facts.
        self.records: dict[str, bytes] = {}
        self._lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_GET(self) -> None:
                service.handle(self)

            def log_message(self, *args: object) -> None:
                return

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                return

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        key = unquote(parts.path.removeprefix("/customers").removeprefix("/"))
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            self.asked[key] += 1
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
            waiting = self.faults[key] or self.faults[""]
            fault = waiting.pop(0) if waiting else None
        try:
            time.sleep(self.delay)
            if fault is not None and fault(request):
                return
            if parts.path.startswith("/facts"):
                self._facts(request, unquote(parts.path.removeprefix("/facts").removeprefix("/")), parts.query)
            elif parts.query:
                keys = parse_qs(parts.query)["ids"][0].split(",")
                reply(request, 200, json.dumps([customer(one) for one in keys if not one.startswith("X")]).encode())
            elif key.startswith("X"):
                reply(request, 404, b"{}")
            else:
                reply(request, 200, json.dumps(customer(key), indent=1).encode())
        finally:
            with self._lock:
                self.under_way -= 1

    def _facts(self, request: BaseHTTPRequestHandler, key: str, query: str) -> None:
        if query:
            wanted = parse_qs(query)["ids"][0].split(",")
            reply(request, 200, b"[" + b",\n".join(self.records[k] for k in wanted if k in self.records) + b"]")
        elif key in self.records:
            reply(request, 200, self.records[key])
        else:
            reply(request, 404, b"")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def customer(key: str) -> dict[str, str]:
    number = int("".join(filter(str.isdigit, key)) or 0)
    return {"customer_id": key, "country": ("DE", "FR", "IT")[number % 3], "credit": f"{number}.10"}


def reply(request: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> bool:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    if "Content_Length" not in headers:
        request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
    return True


def status(code: int, **headers: str) -> Fault:
    return lambda request: reply(request, code, b"", **headers)


def body(data: bytes) -> Fault:
    return lambda request: reply(request, 200, data)


def half_a_body(request: BaseHTTPRequestHandler) -> bool:
    reply(request, 200, b'{"customer_id": ', Content_Length="1000")
    request.close_connection = True
    return True


def reset(request: BaseHTTPRequestHandler) -> bool:
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.close_connection = True
    request.connection.close()
    return True


def hang(request: BaseHTTPRequestHandler) -> bool:
    time.sleep(0.6)
    request.close_connection = True
    return True
