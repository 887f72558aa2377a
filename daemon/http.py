"""/metrics, /livez and /readyz on one port, on 127.0.0.1 unless told otherwise."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Probe = Callable[[], str | None]  # why it is not well; None: it is


class Health:
    """The server of one daemon."""

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, *, live: Probe, ready: Probe
    ) -> None:
        routes = {"/livez": live, "/readyz": ready}

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                if path == "/metrics":
                    self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                elif path in routes:
                    problem = routes[path]()
                    self._answer(
                        503 if problem else 200, (problem or "ok").encode() + b"\n", "text/plain"
                    )
                else:
                    self._answer(404, b"/metrics, /livez and /readyz are here\n", "text/plain")

            def _answer(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Requests are not logged."""

        self.address, self.handler = (host, port), Handler
        self.server: ThreadingHTTPServer | None = None
        self.thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port, also where 0 asked for a free one."""
        return int(self.server.server_address[1]) if self.server else self.address[1]

    def start(self) -> None:
        """Answer from now on."""
        self.server = ThreadingHTTPServer(self.address, self.handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, name="http", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Stop answering."""
        if self.server and self.thread:
            self.server.shutdown()
            self.server.server_close()
            self.thread.join(timeout=5)
