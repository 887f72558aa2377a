"""/metrics, /livez, /readyz and /hooks/NAME on one port, on 127.0.0.1 unless told otherwise."""

import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry

from daemon.hooks import Hook
from daemon.log import log
from daemon.metrics import exposition
from store.errors import StoreError

BODY_SECONDS = 20  # for a whole body, however slowly it comes
PART = 64 * 1024
Probe = Callable[[], str | None]  # why it is not well; None: it is


class _Server(ThreadingHTTPServer):
    """The server with what its handlers need."""

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        registry: CollectorRegistry,
        routes: Mapping[str, Probe],
        hooks: Mapping[str, Hook],
    ) -> None:
        self.registry, self.routes, self.hooks = registry, routes, hooks
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A peer that breaks off is its own affair."""
        log.warning("request broke off", error=repr(sys.exception()))


class _Handler(BaseHTTPRequestHandler):
    timeout = 10
    server: _Server

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path == "/metrics":
            accept = self.headers.get("Accept", "")
            self._answer(200, *exposition(self.server.registry, accept))
        elif path in self.server.routes:
            problem = self.server.routes[path]()
            self._say(503 if problem else 200, problem or "ok")
        else:
            self._say(404, "/metrics, /livez and /readyz are here")

    def do_POST(self) -> None:
        hook = self.server.hooks.get(self.path.split("?")[0].removeprefix("/hooks/"))
        length = self.headers.get("Content-Length", "")
        self.close_connection = True
        if hook is None:
            self._say(404, "no such hook")
        elif not length.isdigit():
            self._say(411, "Content-Length is needed")
        elif len(length) > 12 or int(length) > hook.max_bytes:
            self._say(413, f"the body is larger than {hook.max_bytes} bytes")
        else:
            self._take(hook, int(length))

    def _take(self, hook: Hook, length: int) -> None:
        body, until = bytearray(), time.monotonic() + BODY_SECONDS
        while len(body) < length and time.monotonic() < until:
            part = self.rfile.read1(min(PART, length - len(body)))
            if not part:
                break
            body += part
        if len(body) < length:
            self._say(400, "the body did not come whole")
            return
        try:
            reply = hook.take({k.lower(): v for k, v in self.headers.items()}, bytes(body))
        except StoreError:
            self._say(503, "it could not be stored, send it again")
            return
        self._say(reply.status, reply.text)

    def _say(self, status: int, text: str) -> None:
        self._answer(status, text.encode() + b"\n", "text/plain")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged."""


class Health:
    """The server of one daemon."""

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        *,
        live: Probe,
        ready: Probe,
        hooks: Mapping[str, Hook],
    ) -> None:
        self.address, self.registry, self.hooks = (host, port), registry, hooks
        self.routes = {"/livez": live, "/readyz": ready}
        self.server: _Server | None = None
        self.thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port, also where 0 asked for a free one."""
        return int(self.server.server_address[1]) if self.server else self.address[1]

    def start(self) -> None:
        """Answer from now on."""
        self.server = _Server(self.address, self.registry, self.routes, self.hooks)
        self.thread = threading.Thread(target=self.server.serve_forever, name="http", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Stop answering."""
        if self.server and self.thread:
            self.server.shutdown()
            self.server.server_close()
            self.thread.join(timeout=5)
