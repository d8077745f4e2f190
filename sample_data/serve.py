"""A small service of customers, for the demo of lookups by HTTP: GET /customers/C-0001.

python sample_data/serve.py            # http://127.0.0.1:8765, until Ctrl-C
"""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

CUSTOMERS = Path(__file__).parent / "customers.jsonl"


def server_of(file: Path, port: int) -> ThreadingHTTPServer:
    """Return a server on this machine, not yet serving, of the customers in a file; port 0 is any that is free."""
    customers = {json.loads(line)["customer_id"]: line.encode() for line in file.read_text("utf-8").splitlines()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        # Head and body of an answer in one packet.
        wbufsize = -1

        def do_GET(self) -> None:
            found = customers.get(unquote(self.path.removeprefix("/customers/")))
            body = found if found is not None else b'{"detail": "no such customer"}'
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        # Calls that come at once wait in line; over five, the library's own choice, the system lets them wait a second.
        request_queue_size = 128

    return Server(("127.0.0.1", port), Handler)


@contextmanager
def serving(file: Path = CUSTOMERS, port: int = 0) -> Iterator[str]:
    """Serve beside what else is done; gives the address."""
    server = server_of(file, port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description="Serve the customers of the demo on this machine.")
    parser.add_argument("--port", type=int, default=8765)
    port = parser.parse_args().port
    print(f"customers at http://127.0.0.1:{port}/customers/C-0001; Ctrl-C ends it", flush=True)
    with server_of(CUSTOMERS, port) as server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
