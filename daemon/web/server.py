"""uvicorn in a thread of the daemon, with bounds: request heads, slow senders and stopping all have
a time limit.
"""

import asyncio
import socket
import threading
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10  # for a whole request head, even from a slow sender
HEAD_BYTES = 16 * 1024
CONNECTIONS = 200
IDLE_SECONDS = 5  # between two requests on one connection
STOP_SECONDS = 3  # for answers under way when the server stops


class BoundedHttpProtocol(H11Protocol):
    """HTTP/1.1 that closes connections whose request head does not arrive in time."""

    head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head, and switch Nagle's algorithm off.

        asyncio leaves it on for sockets that it did not make, which costs 40 ms an answer.
        """
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting for a head."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """ListPart of a head, or of a body."""
        super().data_received(data)
        if self._answering():
            self._stop_head_timer()
        elif self.head_timer is None:
            self._start_head_timer()

    def eof_received(self) -> bool:  # type: ignore[override]
        """End a body whose sender closed the connection: the application gets the part that
        arrived.
        """
        if not self._answering():
            return False
        self.cycle.more_body = False
        self.cycle.message_event.set()
        return True

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start_head_timer(self) -> None:
        self.head_timer = self.loop.call_later(HEAD_SECONDS, self._close_slow)

    def _stop_head_timer(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def _close_slow(self) -> None:
        self.head_timer = None
        if not self._answering():
            self.transport.close()


class HttpServer:
    """An ASGI application on a port, run by a thread of its own until it is stopped."""

    def __init__(self, host: str, port: int, app: ASGIApp) -> None:
        self.host, self.wanted_port = host, port
        more: dict[str, Any] = {"log_config": None, "log_level": "error", "access_log": False}
        more |= {"server_header": False, "proxy_headers": False}
        config = uvicorn.Config(
            app,
            http=BoundedHttpProtocol,
            ws="none",
            loop="asyncio",
            lifespan="on",
            limit_concurrency=CONNECTIONS,
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            **more,
        )
        self.server = uvicorn.Server(config)
        self.socket: socket.socket | None = None
        self.thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port; if port 0 asked for a free port, the port in use."""
        return int(self.socket.getsockname()[1]) if self.socket else self.wanted_port

    def start(self) -> None:
        """Answer requests from now on. Raises: OSError: the port is taken."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.socket = socket.create_server(
            (self.host, self.wanted_port), family=family, backlog=128
        )
        self.wanted_port = self.port
        run = {"sockets": [self.socket]}
        self.thread = threading.Thread(target=self.server.run, kwargs=run, name="http", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Stop answering. Answers that take longer than STOP_SECONDS are broken off."""
        self.server.should_exit = True
        if self.thread:
            self.thread.join(timeout=2 * STOP_SECONDS)
            self.socket = None
