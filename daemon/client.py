"""The one place that makes HTTP requests: timeouts, retries, sizes, user agent, and where a request may go.

Every connection, of a redirect too, goes to an address that was looked up and checked just before: only addresses of
the public internet, unless a setting names a private network. A response is bounded in bytes, before and after it is
unpacked, and in time, however slowly it trickles. Only GET is used, so that everything may be tried again.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx
import stamina

from daemon.errors import Blocked, SourceFailed, SourceGone

RETRIED = frozenset({429, 502, 503, 504})
REDIRECTS = 5
EMBEDDED = (  # networks whose addresses carry an IPv4 address that must be checked itself
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
)
NEVER = (ipaddress.IPv6Network("64:ff9b:1::/48"), ipaddress.IPv6Network("2001::/32"))
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one source may cost, and where it may be."""

    user_agent: str = "factd"
    seconds: float = 30.0  # of a whole request
    connect_seconds: float = 10.0
    bytes: int = 32 * 1024 * 1024  # of one answer, packed and unpacked
    attempts: int = 3
    wait_seconds: float = 1.0  # before the second attempt; doubles
    retry_after_seconds: float = 60.0  # a longer Retry-After ends the pull
    requests_per_minute: float = 600.0
    networks: tuple[str, ...] = ()  # private networks that may be asked
    token: str = field(default="", repr=False)  # Bearer


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A response that came whole."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    url: str  # after redirects
    links: Mapping[str, str]  # rel -> URL, of the Link header


def allowed(address: Address, networks: Sequence[Network] = ()) -> bool:
    """An address may be asked: it is public and no multicast, or in one of some networks."""
    if any(address.version == n.version and address in n for n in networks):
        return True
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return allowed(address.ipv4_mapped, networks)
        for network, shift in EMBEDDED:
            if address in network:
                return allowed(ipaddress.IPv4Address(int(address) >> shift & 0xFFFFFFFF), networks)
        if any(address in network for network in NEVER):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, by the system's resolver. Raises: OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Budget:
    """What is left of a request's time and bytes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.until, self.bytes = clock, 0.0, 0

    def start(self, seconds: float, size: int) -> None:
        self.until, self.bytes = self.clock() + seconds, size

    def seconds(self, asked: float | None) -> float:
        left = self.until - self.clock()
        if left <= 0:
            raise httpcore.ReadTimeout("the answer took too long")
        return min(left, asked) if asked is not None else left

    def took(self, size: int) -> None:
        self.bytes -= size
        if self.bytes < 0:
            raise SourceFailed(
                "the answer is larger than max_bytes; raise it if the source is good"
            )


class _Stream(httpcore.NetworkStream):
    """A connection on a budget."""

    def __init__(self, inner: httpcore.NetworkStream, budget: _Budget) -> None:
        self.inner, self.budget = inner, budget

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        found = self.inner.read(max_bytes, self.budget.seconds(timeout))
        self.budget.took(len(found))
        return found

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.inner.write(buffer, self.budget.seconds(timeout))

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        seconds = self.budget.seconds(timeout)
        return _Stream(self.inner.start_tls(ssl_context, server_hostname, seconds), self.budget)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    """Connects to an address that was checked, never to a name."""

    def __init__(
        self, budget: _Budget, networks: Sequence[Network], lookup: Callable[[str, int], list[str]]
    ) -> None:
        self.budget, self.networks, self.lookup = budget, networks, lookup

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = self.lookup(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} has no address ({error})") from error
        for address in addresses:
            if not allowed(ipaddress.ip_address(address.partition("%")[0]), self.networks):
                raise Blocked(
                    f"{host} is {address}, which is not on the public internet; "
                    "allow it with allow_networks if the source is yours"
                )
        seconds = self.budget.seconds(timeout)
        inner = super().connect_tcp(addresses[0], port, seconds, local_address, socket_options)
        return _Stream(inner, self.budget)


class _Transport(httpx.HTTPTransport):
    """httpx's transport over our backend; httpx has no public way to give one."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        super().__init__(trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=1,
            network_backend=backend,
        )


class _Later(Exception):
    """Try again, after so many seconds where the server said so."""

    def __init__(self, answer: Answer, after: float | None) -> None:
        super().__init__(answer.status)
        self.answer, self.after = answer, after


def _later(answer: Answer) -> _Later:
    return _Later(answer, retry_after(answer.headers.get("retry-after"), datetime.now(UTC)))


class Client:
    """Asks one source, one request at a time."""

    def __init__(
        self,
        limits: Limits,
        *,
        lookup: Callable[[str, int], list[str]] = resolve,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.limits, self.clock, self.sleep = limits, clock, sleep
        self.budget = _Budget(clock)
        self.free_at = 0.0
        networks = [ipaddress.ip_network(n) for n in limits.networks]
        self.client = httpx.Client(
            transport=_Transport(_Backend(self.budget, networks, lookup)),
            headers={"User-Agent": limits.user_agent},
            timeout=httpx.Timeout(limits.seconds, connect=limits.connect_seconds),
            follow_redirects=True,
            max_redirects=REDIRECTS,
            trust_env=False,
            event_hooks={"request": [_only_http]},
        )

    def close(self) -> None:
        """End the connections."""
        self.client.close()

    def get(
        self, url: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """The whole answer: 200, 304 or another that is neither an error nor worth another attempt.

        Raises: SourceFailed: transient, with `retry_at` where the server named a time. SourceGone: 410. Blocked.
        """
        shown = shown_url(url)
        try:
            for attempt in stamina.retry_context(
                on=self._retried,
                attempts=self.limits.attempts,
                timeout=None,
                wait_initial=self.limits.wait_seconds,
                wait_max=30.0,
                wait_jitter=self.limits.wait_seconds / 2,
            ):
                with attempt:
                    answer = self._once(url, params, headers)
        except _Later as error:
            raise self._failed(shown, error) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceFailed(f"{shown}: {error or type(error).__name__}") from error
        if answer.status == 410:
            raise SourceGone(
                f"{shown} is gone for good (410); remove the source or give its new URL"
            )
        if answer.status >= 400:
            raise SourceFailed(f"{shown} answered {answer.status}")
        return answer

    def _retried(self, error: Exception) -> bool | float:
        if isinstance(error, _Later):
            if error.after is None:
                return True
            return error.after if error.after <= self.limits.retry_after_seconds else False
        return isinstance(error, httpx.TransportError) and not isinstance(
            error, httpx.UnsupportedProtocol
        )

    def _failed(self, shown: str, error: _Later) -> SourceFailed:
        failed = SourceFailed(f"{shown} answered {error.answer.status}")
        failed.retry_seconds = error.after
        return failed

    def _once(
        self, url: str, params: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> Answer:
        with self._asked(url, params, headers, self.limits.seconds) as response:
            body = bytearray()
            for part in response.iter_bytes():
                body += part
                self.budget.seconds(None)
                if len(body) > self.limits.bytes:
                    raise SourceFailed(
                        f"{shown_url(url)}: the answer unpacks to more than max_bytes = {self.limits.bytes}"
                    )
            answer = _answer(response, bytes(body))
        if answer.status in RETRIED:
            raise _later(answer)
        return answer

    @contextmanager
    def stream(
        self, url: str, *, headers: Mapping[str, str] = {}, seconds: float
    ) -> Iterator[httpx.Response]:
        """A response that is read as it comes, for at most so many seconds. Raises as `get`; nothing is tried again."""
        try:
            with self._asked(url, None, headers, seconds) as response:
                if response.status_code != 200:
                    raise _later(_answer(response, b""))
                yield response
        except _Later as error:
            raise self._failed(shown_url(url), error) from error

    @contextmanager
    def _asked(
        self, url: str, params: Mapping[str, str] | None, headers: Mapping[str, str], seconds: float
    ) -> Iterator[httpx.Response]:
        wait = self.free_at - self.clock()
        if wait > 0:
            self.sleep(wait)
        self.free_at = self.clock() + 60.0 / self.limits.requests_per_minute
        self.budget.start(seconds, self.limits.bytes)
        token = {"Authorization": f"Bearer {self.limits.token}"} if self.limits.token else {}
        sent = {"Accept-Encoding": "gzip", **token, **headers}
        with self.client.stream("GET", url, params=params, headers=sent) as response:
            if response.history and response.history[0].url.scheme > response.url.scheme:
                raise Blocked(f"{shown_url(url)} redirects from https to http")
            yield response


def _answer(response: httpx.Response, body: bytes) -> Answer:
    links = {str(rel): link["url"] for rel, link in response.links.items() if "url" in link}
    return Answer(
        status=response.status_code,
        headers={k.lower(): v for k, v in response.headers.items()},
        body=body,
        url=str(response.url),
        links=links,
    )


def _only_http(request: httpx.Request) -> None:
    if request.url.scheme not in ("http", "https"):
        raise Blocked(f"{request.url.scheme}: is not asked, only http and https")


def retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, in either of its forms; None where it says nothing."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())


def shown_url(url: str) -> str:
    """A URL for logs: without user, password and query, which may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
