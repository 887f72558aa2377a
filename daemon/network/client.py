"""The one place that sends HTTP requests: timeouts, retries, sizes, user agent, allowed addresses.

Every connection, also of a redirect, goes to an address that was looked up and checked right
before: only addresses of the public internet, unless a setting names a private network. A response
is bounded in bytes, compressed and uncompressed, and in time, however slowly it trickles. GET is
retried. POST is sent once; repeating it is the caller's decision.
"""

import ipaddress
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import stamina

from factd.daemon.errors import Blocked, SourceFailed, SourceGone
from factd.daemon.network.ssrf import CheckedBackend, CheckedTransport, TransferBudget, resolve

RETRIED = frozenset({429, 502, 503, 504})
REDIRECTS = 5
CONDITIONS = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much time and data one source may take, and which networks it may be in."""

    user_agent: str = "factd"
    seconds: float = 30.0  # for a whole request
    connect_seconds: float = 10.0
    bytes: int = 32 * 1024 * 1024  # of one response, compressed and uncompressed
    attempts: int = 3
    wait_seconds: float = 1.0  # before the second attempt, doubled for each further one
    retry_after_seconds: float = 60.0  # a longer Retry-After ends the pull
    requests_per_minute: float = 600.0
    networks: tuple[str, ...] = ()  # private networks that may be reached
    token: str = field(default="", repr=False)  # sent as a Bearer token


@dataclass(frozen=True, kw_only=True)
class HttpAnswer:
    """A complete response."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    url: str  # after redirects
    links: Mapping[str, str]  # of the Link header: rel -> URL

    @property
    def good(self) -> bool:
        """The status is 2xx."""
        return 200 <= self.status < 300

    @property
    def validators(self) -> dict[str, str]:
        """The ETag, or else Last-Modified, which identifies this state of the resource.

        May be empty.
        """
        given = {name: self.headers[name] for name in CONDITIONS if name in self.headers}
        return dict(list(given.items())[:1])


def conditions(validators: Mapping[str, str] | None) -> dict[str, str]:
    """Headers that request a resource only if it is no longer in the state of the validators."""
    return {CONDITIONS[name]: value for name, value in (validators or {}).items()}


class _RetryLater(Exception):
    """The server asks for another attempt, perhaps after a number of seconds."""

    def __init__(self, answer: HttpAnswer, after: float | None) -> None:
        super().__init__(answer.status)
        self.answer, self.after = answer, after


class Client:
    """An HTTP client for one source. It sends one request at a time."""

    def __init__(
        self,
        limits: Limits,
        *,
        lookup: Callable[[str, int], list[str]] = resolve,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.limits, self.now, self.clock, self.sleep = limits, now, clock, sleep
        self.budget = TransferBudget(clock)
        self.free_at = 0.0
        networks = [ipaddress.ip_network(n) for n in limits.networks]
        self.client = httpx.Client(
            transport=CheckedTransport(CheckedBackend(self.budget, networks, lookup)),
            headers={"User-Agent": limits.user_agent},
            timeout=httpx.Timeout(limits.seconds, connect=limits.connect_seconds),
            follow_redirects=True,
            max_redirects=REDIRECTS,
            trust_env=False,
            event_hooks={"request": [_only_http]},
        )

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def get(
        self, url: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] = {}
    ) -> HttpAnswer:
        """The response to a GET, with a status below 400. Retried where that may help.

        Raises: SourceFailed: transient, with `retry_seconds` if the server named a time.
        SourceGone: status 410. Blocked.
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
        except _RetryLater as error:
            raise self._failed(shown, error) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceFailed(f"{shown}: {error or type(error).__name__}") from error
        if answer.status == 410:
            raise SourceGone(
                f"{shown} is gone for good (410); remove the source or give it its new URL"
            )
        if answer.status >= 400:
            raise SourceFailed(f"{shown} answered {answer.status}")
        return answer

    def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """The 2xx response to one POST. Redirects are not followed.

        Errors name only the host, because the path may be a secret.
        Raises: SourceFailed: with `retry_seconds` if the server named a time. Blocked.
        """
        answer = self.send("POST", url, body=body, headers=headers)
        if not answer.good:
            raise self._failed(origin(url), self._later(answer))
        return answer

    def send(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] = {},
        seconds: float | None = None,
    ) -> HttpAnswer:
        """The response to one request, whatever its status. Otherwise as `post`.

        seconds: for the whole request. Default: those of the limits.
        """
        shown, most = origin(url), seconds or self.limits.seconds
        try:
            with self._request(method, url, None, headers, most, content=body) as response:
                return self._whole(response, shown)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceFailed(f"{shown}: {error or type(error).__name__}") from error

    def _retried(self, error: Exception) -> bool | float:
        if isinstance(error, _RetryLater):
            if error.after is None:
                return True
            return error.after if error.after <= self.limits.retry_after_seconds else False
        return isinstance(error, httpx.TransportError) and not isinstance(
            error, httpx.UnsupportedProtocol
        )

    def _later(self, answer: HttpAnswer) -> _RetryLater:
        return _RetryLater(answer, retry_after(answer.headers.get("retry-after"), self.now()))

    def _failed(self, shown: str, error: _RetryLater) -> SourceFailed:
        failed = SourceFailed(f"{shown} answered {error.answer.status}")
        failed.retry_seconds = error.after
        return failed

    def _once(
        self, url: str, params: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> HttpAnswer:
        seconds = self.limits.seconds
        with self._request("GET", url, params, headers, seconds, following=True) as response:
            answer = self._whole(response, shown_url(url))
        if answer.status in RETRIED:
            raise self._later(answer)
        return answer

    def _whole(self, response: httpx.Response, shown: str) -> HttpAnswer:
        body = bytearray()
        for part in response.iter_bytes():
            body += part
            self.budget.seconds(None)
            if len(body) > self.limits.bytes:
                raise SourceFailed(
                    f"{shown}: the uncompressed response is larger than max_bytes = "
                    f"{self.limits.bytes}; raise it if the source is good"
                )
        return _answer(response, bytes(body))

    @contextmanager
    def stream(
        self, url: str, *, headers: Mapping[str, str] = {}, seconds: float
    ) -> Iterator[httpx.Response]:
        """A response that is read while it arrives, for at most so many seconds. Never retried.

        Raises: as `get`.
        """
        try:
            with self._request("GET", url, None, headers, seconds, following=True) as response:
                if response.status_code != 200:
                    raise self._later(_answer(response, b""))
                yield response
        except _RetryLater as error:
            raise self._failed(shown_url(url), error) from error

    @contextmanager
    def _request(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str],
        seconds: float,
        *,
        content: bytes | None = None,
        following: bool = False,  # redirects
    ) -> Iterator[httpx.Response]:
        wait = self.free_at - self.clock()
        if wait > 0:
            self.sleep(wait)
        self.free_at = self.clock() + 60.0 / self.limits.requests_per_minute
        self.budget.start(seconds, self.limits.bytes)
        token = {"Authorization": f"Bearer {self.limits.token}"} if self.limits.token else {}
        sent = {"Accept-Encoding": "gzip", **token, **headers}
        more: dict[str, Any] = {"params": params, "headers": sent, "content": content}
        with self.client.stream(method, url, follow_redirects=following, **more) as response:
            if response.history and response.history[0].url.scheme > response.url.scheme:
                raise Blocked(f"{shown_url(url)} redirects from https to http")
            yield response


def _answer(response: httpx.Response, body: bytes) -> HttpAnswer:
    links = {str(rel): link["url"] for rel, link in response.links.items() if "url" in link}
    return HttpAnswer(
        status=response.status_code,
        headers={k.lower(): v for k, v in response.headers.items()},
        body=body,
        url=str(response.url),
        links=links,
    )


def _only_http(request: httpx.Request) -> None:
    if request.url.scheme not in ("http", "https"):
        raise Blocked(f"a URL with {request.url.scheme}: is refused; give one with http or https")


def retry_after(text: str | None, now: datetime) -> float | None:
    """The seconds of a Retry-After header, in either of its two forms. None: it cannot be read."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())


def origin(url: str) -> str:
    """The scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"


def shown_url(url: str) -> str:
    """A URL for logs, without user, password and query, which may be secrets."""
    return origin(url) + urlsplit(url).path
