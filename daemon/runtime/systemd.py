"""Messages to systemd from a service of Type=notify, over its datagram socket.

sd_notify(3): `NOTIFY_SOCKET` is a path, or an abstract address if it begins with "@".
`WATCHDOG_USEC` is the number of microseconds within which a sign of life must come, and
`WATCHDOG_PID` the process that must send it. Without `NOTIFY_SOCKET` nothing is sent. Each function
returns True if the message was sent.
"""

import os
import socket
from collections.abc import Mapping


def notify_ready(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell systemd that the service is up."""
    return _send("READY=1", environment)


def notify_stopping(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell systemd that the service is about to end."""
    return _send("STOPPING=1", environment)


def notify_status(text: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send a line that `systemctl status` shows."""
    return _send("STATUS=" + " ".join(text.split()), environment)


def notify_alive(environment: Mapping[str, str] = os.environ) -> bool:
    """Send a sign of life, if the unit has WatchdogSec and expects it from this process.

    The daemon calls this in every pass of its loop.
    """
    return watchdog_seconds(environment) is not None and _send("WATCHDOG=1", environment)


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """Seconds within which systemd expects a sign of life, or None if it expects none."""
    text = environment.get("WATCHDOG_USEC", "")
    expected_pid = environment.get("WATCHDOG_PID", "")
    if not text.isdigit() or int(text) == 0 or expected_pid not in ("", str(os.getpid())):
        return None
    return int(text) / 1e6


def _send(line: str, environment: Mapping[str, str]) -> bool:
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    name = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as peer:
        try:
            peer.sendto(line.encode(), name)
        except OSError:  # systemd is gone, or the variable is stale: no reason to end
            return False
    return True
