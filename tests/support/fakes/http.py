"""A real HTTP server on loopback. The test decides every answer, also broken ones."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    method: str = "GET"
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: Iterable[bytes] | None = None  # instead of a body; no length is announced
    announced: int | None = None  # another length than the body's
    pause_seconds: float = 0.0  # before each part


class Fake:
    """The server; `asked` holds every request in order."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.answer, self.asked = answer, list[Asked]()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            disable_nagle_algorithm = True  # headers and body are two writes, 40 ms apart with it

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {k: v[0] for k, v in parse_qs(parts.query).items()}
                headers = {k.lower(): v for k, v in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", "0")))
                asked = Asked(parts.path, query, headers, self.command, body)
                fake.asked.append(asked)
                with suppress(ConnectionError, TimeoutError):
                    self._send(fake.answer(asked))

            do_POST = do_PUT = do_DELETE = do_GET

            def _send(self, reply: Reply) -> None:
                self.close_connection = True
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.parts is None and reply.status != 304:
                    length = len(reply.body) if reply.announced is None else reply.announced
                    self.send_header("Content-Length", str(length))
                self.send_header("Connection", "close")
                self.end_headers()
                for part in reply.parts if reply.parts is not None else (reply.body,):
                    time.sleep(reply.pause_seconds)
                    self.wfile.write(part)
                    self.wfile.flush()

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(timeout=5)


@contextmanager
def serving(answer: Callable[[Asked], Reply]) -> Iterator[Fake]:
    fake = Fake(answer)
    try:
        yield fake
    finally:
        fake.stop()
