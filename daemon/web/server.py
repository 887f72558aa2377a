"""uvicorn in a thread of the daemon: bounded heads, bodies that end when their sender has, a stop that ends in time."""

import asyncio
import socket
import threading
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10  # for a whole head, however slowly it comes
HEAD_BYTES = 16 * 1024
CONNECTIONS = 200
IDLE_SECONDS = 5  # between two requests of one connection
STOP_SECONDS = 3  # for answers that are under way


class Protocol(H11Protocol):
    """HTTP/1.1 that waits for nobody for ever."""

    slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first head is awaited. asyncio leaves Nagle's algorithm on where the socket is not its own: 40 ms an answer."""
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wait_for_a_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Part of a head, or of a body."""
        super().data_received(data)
        if self._answering():
            self._wait_no_more()
        elif self.slow is None:
            self._wait_for_a_head()

    def eof_received(self) -> bool:  # type: ignore[override]
        """A sender that broke off inside a body is told so: what came is all there is."""
        if not self._answering():
            return False
        self.cycle.more_body = False
        self.cycle.message_event.set()
        return True

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_a_head(self) -> None:
        self.slow = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _wait_no_more(self) -> None:
        if self.slow is not None:
            self.slow.cancel()
            self.slow = None

    def _too_slow(self) -> None:
        self.slow = None
        if not self._answering():
            self.transport.close()


class Server:
    """An ASGI app on a port, answered by a thread until it is stopped."""

    def __init__(self, host: str, port: int, app: ASGIApp) -> None:
        self.host, self.asked = host, port
        more: dict[str, Any] = {"log_config": None, "log_level": "error", "access_log": False}
        more |= {"server_header": False, "proxy_headers": False}
        config = uvicorn.Config(
            app,
            http=Protocol,
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
        """The port, also where 0 asked for a free one."""
        return int(self.socket.getsockname()[1]) if self.socket else self.asked

    def start(self) -> None:
        """Answer from now on. Raises: OSError: the port is taken."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.socket = socket.create_server((self.host, self.asked), family=family, backlog=128)
        self.asked = self.port
        run = {"sockets": [self.socket]}
        self.thread = threading.Thread(target=self.server.run, kwargs=run, name="http", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Stop answering; what is not answered in time is broken off."""
        self.server.should_exit = True
        if self.thread:
            self.thread.join(timeout=2 * STOP_SECONDS)
            self.socket = None
