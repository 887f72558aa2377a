"""The middleware of the console: checks the host and the body of each request, and sets the headers
of each answer.
"""

import asyncio
from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES = 64 * 1024
BODY_SECONDS = 20  # for a whole body, even from a slow sender
OWN_HOSTS = ("127.0.0.1", "localhost", "[::1]")
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
REPORT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
TLS_HEADERS: Mapping[str, str] = {"Strict-Transport-Security": "max-age=31536000"}


class GuardMiddleware:
    """Refuses other hosts and large or slow bodies; adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], secure: bool) -> None:
        self.app = app
        self.hosts = {host.lower() for host in (*OWN_HOSTS, *hosts)}
        self.headers = {**HEADERS, **(TLS_HEADERS if secure else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        status, sentence = self._objection(Headers(scope=scope))
        body = b"" if status else await whole_body(Request(scope, receive), seconds=BODY_SECONDS)
        if body is None:
            status, sentence = 400, "the body did not arrive completely; send the request again"
        if status:
            close = {"Connection": "close"}
            answer = JSONResponse({"error": sentence}, status_code=status, headers=close)
            await answer(scope, receive, send_with_headers)
            return
        await self.app(scope, _replayed(body or b"", receive), send_with_headers)

    def _objection(self, headers: Headers) -> tuple[int, str]:
        """Status and sentence of a request that is refused; status 0 if it is not refused."""
        host = host_name(headers.get("host", ""))
        length = headers.get("content-length", "0")
        if host not in self.hosts:
            return (
                400,
                (
                    f"this console does not answer to the host name {host!r}; "
                    "add it to [console] hosts"
                ),
            )
        if "transfer-encoding" in headers or not length.isdigit():
            return 411, "send the header Content-Length"
        if len(length) > 9 or int(length) > BODY_BYTES:
            return 413, f"the body is larger than {BODY_BYTES} bytes"
        return 0, ""


def host_name(host: str) -> str:
    """A Host header without its port, in lower case."""
    name = host.strip().lower()
    return name.split("]")[0] + "]" if name.startswith("[") else name.split(":")[0]


async def whole_body(request: Request, *, seconds: float) -> bytes | None:
    """The body of a request; None if its sender is gone or too slow."""
    try:
        async with asyncio.timeout(seconds):
            return await request.body()
    except (TimeoutError, ClientDisconnect):
        return None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A receive function that gives the body again to the application."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


def address_of(request: Request, proxies: Sequence[str]) -> str:
    """The address that sent the request.

    Behind a configured proxy: the address in X-Forwarded-For.
    """
    peer = request.client.host if request.client else "unknown"
    forwarded = request.headers.get("x-forwarded-for", "").split(",")[-1].strip()
    return forwarded[:45] if forwarded and peer in proxies else peer


def other_site(headers: Headers) -> str:
    """Why the request seems to come from another site's page, by the browser's headers; empty if it
    does not.
    """
    site = headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none"):
        return f"the request comes from another site's page ({site}); open the console itself"
    origin = headers.get("origin")
    if origin is not None and origin.split("://")[-1].lower() != headers.get("host", "").lower():
        return f"the request comes from a page of {origin[:100]}; open the console itself"
    return ""
