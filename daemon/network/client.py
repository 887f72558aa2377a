"""The one place that makes HTTP requests: timeouts, retries, sizes, user agent, and where a request may go.

Every connection, of a redirect too, goes to an address that was looked up and checked just before: only addresses of
the public internet, unless a setting names a private network. A response is bounded in bytes, before and after it is
unpacked, and in time, however slowly it trickles. GET may be tried again; POST is tried once, and its caller's to repeat.
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
class HttpAnswer:
    """A response that came whole."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    url: str  # after redirects
    links: Mapping[str, str]  # rel -> URL, of the Link header

    @property
    def good(self) -> bool:
        """It is a 2xx."""
        return 200 <= self.status < 300

    @property
    def validators(self) -> dict[str, str]:
        """What tells this state of the resource from another: its ETag, else its Last-Modified; empty where it has none."""
        found = {name: self.headers[name] for name in CONDITIONS if name in self.headers}
        return dict(list(found.items())[:1])


def conditions(validators: Mapping[str, str] | None) -> dict[str, str]:
    """Headers that ask for a resource only where it is not in that state any more."""
    return {CONDITIONS[name]: value for name, value in (validators or {}).items()}


class _Later(Exception):
    """Try again, after so many seconds where the server said so."""

    def __init__(self, answer: HttpAnswer, after: float | None) -> None:
        super().__init__(answer.status)
        self.answer, self.after = answer, after


class Client:
    """Asks one source, one request at a time."""

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
        """End the connections."""
        self.client.close()

    def get(
        self, url: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] = {}
    ) -> HttpAnswer:
        """The whole answer: 200, 304 or another that is neither an error nor worth another attempt.

        Raises: SourceFailed: transient, with `retry_seconds` where the server named a time. SourceGone: 410. Blocked.
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

    def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """The answer to one POST, a 2xx; no redirect is followed. Errors name only the host, for a path may be a secret.

        Raises: SourceFailed: with `retry_seconds` where the server named a time. Blocked.
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
        """The answer to one request, whatever its status, within the limits' seconds or so many; else as `post`."""
        shown, most = origin(url), seconds or self.limits.seconds
        try:
            with self._asked(method, url, None, headers, most, content=body) as response:
                return self._whole(response, shown)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceFailed(f"{shown}: {error or type(error).__name__}") from error

    def _retried(self, error: Exception) -> bool | float:
        if isinstance(error, _Later):
            if error.after is None:
                return True
            return error.after if error.after <= self.limits.retry_after_seconds else False
        return isinstance(error, httpx.TransportError) and not isinstance(
            error, httpx.UnsupportedProtocol
        )

    def _later(self, answer: HttpAnswer) -> _Later:
        return _Later(answer, retry_after(answer.headers.get("retry-after"), self.now()))

    def _failed(self, shown: str, error: _Later) -> SourceFailed:
        failed = SourceFailed(f"{shown} answered {error.answer.status}")
        failed.retry_seconds = error.after
        return failed

    def _once(
        self, url: str, params: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> HttpAnswer:
        seconds = self.limits.seconds
        with self._asked("GET", url, params, headers, seconds, following=True) as response:
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
                    f"{shown}: the answer unpacks to more than max_bytes = {self.limits.bytes}"
                )
        return _answer(response, bytes(body))

    @contextmanager
    def stream(
        self, url: str, *, headers: Mapping[str, str] = {}, seconds: float
    ) -> Iterator[httpx.Response]:
        """A response that is read as it comes, for at most so many seconds. Raises as `get`; nothing is tried again."""
        try:
            with self._asked("GET", url, None, headers, seconds, following=True) as response:
                if response.status_code != 200:
                    raise self._later(_answer(response, b""))
                yield response
        except _Later as error:
            raise self._failed(shown_url(url), error) from error

    @contextmanager
    def _asked(
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


def origin(url: str) -> str:
    """The scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"


def shown_url(url: str) -> str:
    """A URL for logs: without user, password and query, which may hold secrets."""
    return origin(url) + urlsplit(url).path
