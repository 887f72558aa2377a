"""/metrics, /livez, /readyz, /hooks/NAME and the console on one port, on 127.0.0.1 unless told otherwise."""

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
from factd.daemon.web.server import Server
from factd.store.errors import StoreError

BODY_SECONDS = 20  # for a whole body, however slowly it comes
THREADS = 8  # for what asks the database; its pool has 15 connections
Probe = Callable[[], str | None]  # why it is not well; None: it is
CLOSE = {"Connection": "close"}


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
        console: ASGIApp | None = None,
    ) -> None:
        """live is asked in the server's own loop and must answer at once; ready may take its time."""
        routes: list[BaseRoute] = [
            Route("/metrics", _metrics(registry)),
            Route("/livez", _alive(live)),
            Route("/readyz", _prepared(ready)),
            Route("/hooks/{name}", _deliveries(hooks), methods=["POST"]),
            Mount("/", app=console or _nothing_else),
        ]
        self.server = Server(host, port, Starlette(routes=routes, lifespan=_few_threads))

    @property
    def port(self) -> int:
        """The port, also where 0 asked for a free one."""
        return self.server.port

    def start(self) -> None:
        """Answer from now on."""
        self.server.start()

    def stop(self) -> None:
        """Stop answering."""
        self.server.stop()


@asynccontextmanager
async def _few_threads(_: Starlette) -> AsyncIterator[None]:
    """No more answers at once than the database has connections for."""
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


def said(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """A line of text."""
    return Response(f"{text}\n", status_code=status, media_type="text/plain", headers=headers)


def _told(problem: str | None) -> Response:
    return said(503 if problem else 200, problem or "ok")


async def _nothing_else(scope: object, receive: object, send: object) -> None:
    answer = said(404, "/metrics, /livez and /readyz are here")
    await answer(scope, receive, send)  # type: ignore[arg-type]


def _metrics(registry: CollectorRegistry) -> Callable[[Request], Response]:
    def metrics(request: Request) -> Response:
        body, content_type = exposition(registry, request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    return metrics


def _alive(live: Probe) -> Callable[..., object]:
    async def alive(_: Request) -> Response:
        return _told(live())

    return alive


def _prepared(ready: Probe) -> Callable[[Request], Response]:
    def prepared(_: Request) -> Response:
        return _told(ready())

    return prepared


def _deliveries(hooks: Mapping[str, Hook]) -> Callable[..., object]:
    async def deliver(request: Request) -> Response:
        hook = hooks.get(request.path_params["name"])
        length = request.headers.get("Content-Length", "")
        if hook is None:
            return said(404, "no such hook", CLOSE)
        if not length.isdigit():
            return said(411, "Content-Length is needed", CLOSE)
        if len(length) > 12 or int(length) > hook.max_bytes:
            return said(413, f"the body is larger than {hook.max_bytes} bytes", CLOSE)
        body = await whole_body(request, seconds=BODY_SECONDS)
        if body is None or len(body) < int(length):
            return said(400, "the body did not come whole", CLOSE)
        try:
            reply = await run_in_threadpool(hook.take, request.headers, body)
        except StoreError:
            return said(503, "it could not be stored, send it again", CLOSE)
        return said(reply.status, reply.text, CLOSE)

    return deliver
