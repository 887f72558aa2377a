"""A mail in plain text over SMTP. Its Message-ID is the same for every attempt, by which mail programs drop repeats."""

import re
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from threading import Timer
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from factd.daemon.channels import Channel, ChannelSettings, Message
from factd.daemon.config.load import secret_text
from factd.daemon.errors import NotSent
from factd.daemon.log import log

ADDRESS = re.compile(r"[^\s<>@,;:\"\\()\[\]]+@[^\s<>@,;:\"\\()\[\]]+")
SUBJECT_LENGTH = 150
PORTS = {"starttls": 587, "tls": 465, "none": 25}


class Settings(ChannelSettings):
    """[notify.email]"""

    host: str = Field(min_length=1)
    """The mail server."""
    port: int = Field(default=0, ge=0, le=65535)
    """Its port; 0: the usual port for `security`."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is encrypted; the certificate is verified."""
    ca_file: Path | None = None
    """Certificates to trust, if the server's is not a public one."""
    user: str = ""
    """Login at the mail server; empty: none."""
    password_file: Path | None = None
    """A file that holds the password."""
    sender: str
    """The address that mails come from."""
    to: tuple[str, ...] = Field(min_length=1)
    """The addresses that mails go to."""
    subject_prefix: str = "[factd]"
    """Text in front of every subject."""

    @field_validator("sender", "to")
    @classmethod
    def _are_addresses(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for address in (value,) if isinstance(value, str) else value:
            if not ADDRESS.fullmatch(address):
                raise ValueError(f"{address!r} is no mail address; write it as name@example.org")
        return value

    @model_validator(mode="after")
    def _log_in_is_whole(self) -> "Settings":
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user and password_file belong together")
        if self.user and self.security == "none":
            raise ValueError(
                "a password is not sent in the clear: security must be starttls or tls"
            )
        return self

    def ready(self) -> None:
        """Raises: BadConfig: the password cannot be read."""
        self.password()

    def password(self) -> str:
        """The password. Raises: BadConfig."""
        return secret_text(self.password_file) if self.password_file else ""


def mail(settings: Settings, message: Message, *, now: datetime) -> EmailMessage:
    """The mail. A line's end within a header is refused by EmailMessage, and turned into a space before."""
    found = EmailMessage()
    found["From"], found["To"] = settings.sender, ", ".join(settings.to)
    subject = one_line(f"{settings.subject_prefix} {message.kind}: {message.text}")
    found["Subject"] = subject[:SUBJECT_LENGTH]
    found["Date"] = format_datetime(now)
    found["Message-ID"] = f"<{message.id}@{settings.sender.rpartition('@')[2]}>"
    found["Auto-Submitted"] = "auto-generated"
    found.set_content(body(message))
    return found


def one_line(text: str) -> str:
    """A text without line ends and control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def body(message: Message) -> str:
    """What the mail says."""
    rows = {"host": message.host, "since": f"{message.first_at:%Y-%m-%d %H:%M:%S} UTC"}
    rows |= {"found": f"{message.count} times"} if message.count > 1 else {}
    rows |= {"over": f"{message.over_at:%Y-%m-%d %H:%M:%S} UTC"} if message.over_at else {}
    rows |= {name: one_line(str(value)) for name, value in message.data.items()}
    lines = [f"{name:<10} {value}" for name, value in rows.items()]
    return "\n".join(
        [one_line(message.text), "", *lines, "", "`factd notices list` shows what holds now.", ""]
    )


def send(settings: Settings, message: Message, *, now: datetime) -> None:
    """One mail. Raises: NotSent: nobody gets it; BadConfig."""
    password = settings.password()
    try:
        made = mail(settings, message, now=now)
        with _connected(settings, message.host) as server:
            if settings.user:
                server.login(settings.user, password)
            refused = server.send_message(made)
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise NotSent(f"{settings.host}: {_said(error)}") from error
    if refused:  # the others have it, and would get it again with another attempt
        log.warning("mail refused for some", server=settings.host, addresses=sorted(refused))


class _Server(smtplib.SMTP):
    """A connection that is hung up when its time is over, however slowly the server answers."""

    def __init__(self, host: str, port: int, name: str, seconds: float, **more: Any) -> None:
        self.alarm = Timer(seconds, self.hang_up)
        self.alarm.daemon = True
        self.alarm.start()
        try:
            super().__init__(host, port, name, timeout=seconds, **more)
        except BaseException:
            self.alarm.cancel()
            raise

    def hang_up(self) -> None:
        """Wake whoever waits for the server."""
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection."""
        self.alarm.cancel()
        super().close()


class _TlsServer(_Server, smtplib.SMTP_SSL):
    """The same over TLS from the first byte."""


@contextmanager
def _connected(settings: Settings, name: str) -> Iterator[smtplib.SMTP]:
    """The mail server, over TLS as configured. name: of this host."""
    where = (settings.host, settings.port or PORTS[settings.security], name)
    context, seconds = _context(settings), settings.timeout_seconds
    if settings.security == "tls":
        server: _Server = _TlsServer(*where, seconds, context=context)
    else:
        server = _Server(*where, seconds)
    try:
        if settings.security == "starttls":
            server.starttls(context=context)
        yield server
        with suppress(smtplib.SMTPException, OSError):  # it has the mail already
            server.quit()
    finally:
        server.close()


def _context(settings: Settings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)


def _said(error: Exception) -> str:
    """An error of SMTP in words, as the server put it."""
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        return f"{error.smtp_code} {text.decode('utf-8', 'replace') if isinstance(text, bytes) else text}"
    return f"{type(error).__name__}: {error}"


_: Channel = send
