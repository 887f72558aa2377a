"""What every request of the console passes first: its host, the size and time of its body; the headers of its answer."""

import asyncio
from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES = 64 * 1024
BODY_SECONDS = 20
ALWAYS = ("127.0.0.1", "localhost", "[::1]")
OWN_PAGES = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
REPORTS = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": OWN_PAGES,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
TLS: Mapping[str, str] = {"Strict-Transport-Security": "max-age=31536000"}


class Guard:
    """An app behind these rules."""

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], secure: bool) -> None:
        self.app = app
        self.hosts = {host.lower() for host in (*ALWAYS, *hosts)}
        self.headers = {**HEADERS, **(TLS if secure else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        status, sentence = self._objection(Headers(scope=scope))
        body = b"" if status else await whole_body(Request(scope, receive), seconds=BODY_SECONDS)
        if body is None:
            status, sentence = 400, "the body did not come whole"
        if status:
            close = {"Connection": "close"}
            answer = JSONResponse({"error": sentence}, status_code=status, headers=close)
            await answer(scope, receive, guarded)
            return
        await self.app(scope, _again(body or b"", receive), guarded)

    def _objection(self, headers: Headers) -> tuple[int, str]:
        """Why the request is not looked at; 0 where it is."""
        host = host_name(headers.get("host", ""))
        length = headers.get("content-length", "0")
        if host not in self.hosts:
            return (
                400,
                f"this is not {host or 'a nameless host'}; [console] hosts lists the names of this one",
            )
        if "transfer-encoding" in headers or not length.isdigit():
            return 411, "Content-Length is needed"
        if len(length) > 9 or int(length) > BODY_BYTES:
            return 413, f"the body is larger than {BODY_BYTES} bytes"
        return 0, ""


def host_name(host: str) -> str:
    """A Host header without its port, in lower case."""
    name = host.strip().lower()
    return name.split("]")[0] + "]" if name.startswith("[") else name.split(":")[0]


async def whole_body(request: Request, *, seconds: float) -> bytes | None:
    """What came of a body in time; None where its sender is gone or too slow."""
    try:
        async with asyncio.timeout(seconds):
            return await request.body()
    except (TimeoutError, ClientDisconnect):
        return None


def _again(body: bytes, receive: Receive) -> Receive:
    """The body for who reads it next."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return left.pop() if left else await receive()

    return next_message


def address_of(request: Request, proxies: Sequence[str]) -> str:
    """Who asks; behind a proxy of ours, who asked it."""
    peer = request.client.host if request.client else "nowhere"
    named = request.headers.get("x-forwarded-for", "").split(",")[-1].strip()
    return named[:45] if named and peer in proxies else peer


def from_elsewhere(headers: Headers) -> str:
    """Why a browser says that a request came from another site's page; empty where it does not."""
    site = headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none"):
        return f"the request comes from another site's page ({site})"
    origin = headers.get("origin")
    if origin is not None and origin.split("://")[-1].lower() != headers.get("host", "").lower():
        return f"the request comes from a page of {origin[:100]}"
    return ""
