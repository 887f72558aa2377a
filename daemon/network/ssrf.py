"""The SSRF guard: connections only to allowed addresses, with limits on time and bytes.

An address is checked when it is connected to, so that a name cannot change its address in between.
"""

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import httpcore
import httpx

from factd.daemon.errors import Blocked, SourceFailed

EMBEDDED = (  # networks whose addresses contain an IPv4 address, which is checked itself
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
)
NEVER = (ipaddress.IPv6Network("64:ff9b:1::/48"), ipaddress.IPv6Network("2001::/32"))
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def allowed(address: Address, networks: Sequence[Network] = ()) -> bool:
    """The address is public and not multicast, or in one of these networks."""
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
    """The addresses of a host from the system's resolver. Raises: OSError."""
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


class TransferBudget:
    """The time and bytes that are left for a request."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.until, self.bytes = clock, 0.0, 0

    def start(self, seconds: float, size: int) -> None:
        self.until, self.bytes = self.clock() + seconds, size

    def seconds(self, asked: float | None) -> float:
        left = self.until - self.clock()
        if left <= 0:
            raise httpcore.ReadTimeout("the response took too long")
        return min(left, asked) if asked is not None else left

    def took(self, size: int) -> None:
        self.bytes -= size
        if self.bytes < 0:
            raise SourceFailed(
                "the response is larger than max_bytes; raise it if the source is good"
            )


class _Stream(httpcore.NetworkStream):
    """A connection that stays within the budget of time and bytes."""

    def __init__(self, inner: httpcore.NetworkStream, budget: TransferBudget) -> None:
        self.inner, self.budget = inner, budget

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        content = self.inner.read(max_bytes, self.budget.seconds(timeout))
        self.budget.took(len(content))
        return content

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


class CheckedBackend(httpcore.SyncBackend):
    """Connects to checked addresses only. Names are looked up first."""

    def __init__(
        self,
        budget: TransferBudget,
        networks: Sequence[Network],
        lookup: Callable[[str, int], list[str]],
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
                    "allow it with allow_networks if it is yours"
                )
        seconds = self.budget.seconds(timeout)
        inner = super().connect_tcp(addresses[0], port, seconds, local_address, socket_options)
        return _Stream(inner, self.budget)


@cache
def certificate_authorities() -> ssl.SSLContext:
    """The trusted certificate authorities. They are read once, because that takes 40 ms."""
    return httpx.create_ssl_context(trust_env=False)


class CheckedTransport(httpx.HTTPTransport):
    """httpx's transport over our backend. httpx has no public way to set a backend."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        super().__init__(verify=certificate_authorities(), trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=certificate_authorities(),
            max_connections=1,
            network_backend=backend,
        )
