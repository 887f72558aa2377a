"""What systemd wants to hear of a service of Type=notify, over its datagram socket; without one nothing is said.

sd_notify(3): `NOTIFY_SOCKET` is a path, or abstract where it begins with "@"; `WATCHDOG_USEC` is within how many microseconds a
sign of life must come, and `WATCHDOG_PID` from whom.
"""

import os
import socket
from collections.abc import Mapping


def ready(environment: Mapping[str, str] = os.environ) -> bool:
    """The service is up. As all of these: True where systemd was told."""
    return _say("READY=1", environment)


def stopping(environment: Mapping[str, str] = os.environ) -> bool:
    """The service begins to end."""
    return _say("STOPPING=1", environment)


def status(text: str, environment: Mapping[str, str] = os.environ) -> bool:
    """One line that `systemctl status` shows."""
    return _say("STATUS=" + " ".join(text.split()), environment)


def alive(environment: Mapping[str, str] = os.environ) -> bool:
    """A sign of life, where the unit has WatchdogSec and means this process; call it at each turn of the loop."""
    return watchdog_seconds(environment) is not None and _say("WATCHDOG=1", environment)


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """Within how many seconds systemd wants a sign of life; None: it wants none."""
    text = environment.get("WATCHDOG_USEC", "")
    wanted = environment.get("WATCHDOG_PID", "")
    if not text.isdigit() or int(text) == 0 or wanted not in ("", str(os.getpid())):
        return None
    return int(text) / 1e6


def _say(line: str, environment: Mapping[str, str]) -> bool:
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    name = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as peer:
        try:
            peer.sendto(line.encode(), name)
        except OSError:  # systemd went away, or a stale variable: no reason to end
            return False
    return True
