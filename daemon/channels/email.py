"""A mail in plain text over SMTP.

Its Message-ID is the same for every attempt, so that mail programs drop repeats.
"""

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
from factd.daemon.config.secrets import secret_text
from factd.daemon.errors import NotSent
from factd.daemon.log import log

ADDRESS = re.compile(r"[^\s<>@,;:\"\\()\[\]]+@[^\s<>@,;:\"\\()\[\]]+")
SUBJECT_LENGTH = 150
PORTS = {"starttls": 587, "tls": 465, "none": 25}


class EmailSettings(ChannelSettings):
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
                raise ValueError(f"{address!r} is not a mail address; write it as name@example.org")
        return value

    @model_validator(mode="after")
    def _login_is_complete(self) -> "EmailSettings":
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user and password_file belong together: set both, or neither")
        if self.user and self.security == "none":
            raise ValueError(
                "a password is never sent unencrypted: set security to starttls or tls"
            )
        return self

    def ready(self) -> None:
        """Check the password file. Raises: BadConfig: it cannot be read."""
        self.password()

    def password(self) -> str:
        """The password; empty if no file is named. Raises: BadConfig."""
        return secret_text(self.password_file) if self.password_file else ""


Settings = EmailSettings  # the plugin loader looks for this name


def mail(settings: EmailSettings, message: Message, *, now: datetime) -> EmailMessage:
    """A message as a mail.

    Line ends in the subject become blanks: EmailMessage refuses them in headers.
    """
    made = EmailMessage()
    made["From"], made["To"] = settings.sender, ", ".join(settings.to)
    subject = one_line(f"{settings.subject_prefix} {message.kind}: {message.text}")
    made["Subject"] = subject[:SUBJECT_LENGTH]
    made["Date"] = format_datetime(now)
    made["Message-ID"] = f"<{message.id}@{settings.sender.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(body(message))
    return made


def one_line(text: str) -> str:
    """A text in one line: line ends and control characters become blanks."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def body(message: Message) -> str:
    """The text of the mail: the sentence, then facts about the notice."""
    rows = {"host": message.host, "since": f"{message.first_at:%Y-%m-%d %H:%M:%S} UTC"}
    rows |= {"seen": f"{message.count} times"} if message.count > 1 else {}
    rows |= {"over": f"{message.over_at:%Y-%m-%d %H:%M:%S} UTC"} if message.over_at else {}
    rows |= {name: one_line(str(value)) for name, value in message.data.items()}
    lines = [f"{name:<10} {value}" for name, value in rows.items()]
    return "\n".join(
        [
            one_line(message.text),
            "",
            *lines,
            "",
            "`factd notices list` shows the notices that hold now.",
            "",
        ]
    )


def send(settings: EmailSettings, message: Message, *, now: datetime) -> None:
    """Send one mail. Raises: NotSent: no recipient got it. BadConfig."""
    password = settings.password()
    try:
        made = mail(settings, message, now=now)
        with _connected(settings, message.host) as server:
            if settings.user:
                server.login(settings.user, password)
            refused = server.send_message(made)
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise NotSent(f"{settings.host}: {_error_text(error)}") from error
    if refused:  # no other attempt: the other recipients would get the mail again
        log.warning("mail refused for some", server=settings.host, addresses=sorted(refused))


class _Server(smtplib.SMTP):
    """An SMTP connection that is closed when its time is over, however slow the server is."""

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
        """Shut the connection down, which wakes the thread that waits for the server."""
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection and cancel the alarm."""
        self.alarm.cancel()
        super().close()


class _TlsServer(_Server, smtplib.SMTP_SSL):
    """The same, over TLS from the first byte."""


@contextmanager
def _connected(settings: EmailSettings, name: str) -> Iterator[smtplib.SMTP]:
    """A connection to the mail server, encrypted as configured. name: the name of this host."""
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
        with suppress(smtplib.SMTPException, OSError):  # the server has the mail already
            server.quit()
    finally:
        server.close()


def _context(settings: EmailSettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)


def _error_text(error: Exception) -> str:
    """An SMTP error in the words of the server."""
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        return (
            f"{error.smtp_code} "
            f"{text.decode('utf-8', 'replace') if isinstance(text, bytes) else text}"
        )
    return f"{type(error).__name__}: {error}"


_: Channel = send
