"""The daemon's HTTP port: /metrics, /livez, /readyz, /hooks/NAME and the console.

[http] host, 127.0.0.1 by default.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from anyio import to_thread
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from factd.daemon.ingestion.webhooks import Hook
from factd.daemon.metrics.exporter import exposition
from factd.daemon.web.middleware import whole_body
from factd.daemon.web.server import HttpServer
from factd.store.errors import StoreError

BODY_SECONDS = 20  # for a whole body, even from a slow sender
THREADS = 8  # that query the database; its pool has 15 connections
HealthCheck = Callable[[], str | None]  # the problem; None: healthy
CLOSE = {"Connection": "close"}


class DaemonHttp:
    """The HTTP port of one daemon, from `start` to `stop`."""

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        *,
        live: HealthCheck,
        ready: HealthCheck,
        hooks: Mapping[str, Hook],
        console: ASGIApp | None = None,
    ) -> None:
        """live runs in the server's event loop and must return at once. ready runs in a thread and
        may take time.
        """
        routes: list[BaseRoute] = [
            Route("/metrics", _metrics(registry)),
            Route("/livez", _livez(live)),
            Route("/readyz", _readyz(ready)),
            Route("/hooks/{name}", _deliveries(hooks), methods=["POST"]),
            Mount("/", app=console or _not_found),
        ]
        self.server = HttpServer(host, port, Starlette(routes=routes, lifespan=_few_threads))

    @property
    def port(self) -> int:
        """The port; if port 0 asked for a free port, the port in use."""
        return self.server.port

    def start(self) -> None:
        """Answer requests from now on. Raises: OSError: the port is taken."""
        self.server.start()

    def stop(self) -> None:
        """Stop answering requests."""
        self.server.stop()


@asynccontextmanager
async def _few_threads(_: Starlette) -> AsyncIterator[None]:
    """Limit the threads, so that they never need more connections than the database pool has."""
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


def text_response(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """A response of one line of text."""
    return Response(f"{text}\n", status_code=status, media_type="text/plain", headers=headers)


def _health_response(problem: str | None) -> Response:
    return text_response(503 if problem else 200, problem or "ok")


async def _not_found(scope: object, receive: object, send: object) -> None:
    answer = text_response(404, "this port serves /metrics, /livez and /readyz")
    await answer(scope, receive, send)  # type: ignore[arg-type]


def _metrics(registry: CollectorRegistry) -> Callable[[Request], Response]:
    def metrics(request: Request) -> Response:
        body, content_type = exposition(registry, request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    return metrics


def _livez(live: HealthCheck) -> Callable[..., object]:
    async def livez(_: Request) -> Response:
        return _health_response(live())

    return livez


def _readyz(ready: HealthCheck) -> Callable[[Request], Response]:
    def readyz(_: Request) -> Response:
        return _health_response(ready())

    return readyz


def _deliveries(hooks: Mapping[str, Hook]) -> Callable[..., object]:
    async def deliver(request: Request) -> Response:
        hook = hooks.get(request.path_params["name"])
        length = request.headers.get("Content-Length", "")
        if hook is None:
            return text_response(
                404,
                "no webhook source has this name; see [sources.NAME] in the configuration",
                CLOSE,
            )
        if not length.isdigit():
            return text_response(411, "send the header Content-Length", CLOSE)
        if len(length) > 12 or int(length) > hook.max_bytes:
            return text_response(413, f"the body is larger than {hook.max_bytes} bytes", CLOSE)
        body = await whole_body(request, seconds=BODY_SECONDS)
        if body is None or len(body) < int(length):
            return text_response(400, "the body did not arrive completely; send it again", CLOSE)
        try:
            reply = await run_in_threadpool(hook.take, request.headers, body)
        except StoreError:
            return text_response(503, "the delivery could not be stored; send it again", CLOSE)
        return text_response(reply.status, reply.text, CLOSE)

    return deliver
