"""What the daemon refuses, and why.

FactdError
├── BadConfig       the configuration is missing or wrong (names the key)
├── Refused         the thing asked for must not be done now (frozen, nothing to do, a gate); says what to do
├── Busy            somebody else holds the lock of the state directory (transient)
├── BadBackup       a backup is damaged, or is none; nothing of it was used
├── PublishFailed   a publisher could not bring a release out; the previous one still serves
├── HandoverFailed  a server does not serve what it was handed; what it served before is to be restored
├── NotSent         a channel did not take a notice; it is tried again (transient)
└── SourceFailed    a source did not answer as it should; its cursor stays where it was (transient)
    ├── SourceGone  the source says that it is gone for good
    └── Blocked     a request would have left the networks that are allowed
"""


class FactdError(Exception):
    """Base of all errors that the daemon raises on purpose; the text is one sentence for the operator."""

    transient = False


class BadConfig(FactdError):
    """The configuration is missing or wrong."""


class Refused(FactdError):
    """What was asked for must not be done now."""


class Busy(FactdError):
    """Somebody else is at work on this state directory."""

    transient = True


class BadBackup(FactdError):
    """A backup is damaged, or is none; nothing of it was used."""


class PublishFailed(FactdError):
    """A release could not be brought out; the previous one still serves."""


class HandoverFailed(FactdError):
    """A server does not serve what it was handed."""

    transient = True
    retry_seconds: float | None = None  # the server's own wish


class NotSent(FactdError):
    """A channel did not take a notice."""

    transient = True
    retry_seconds: float | None = None  # the receiver's own wish


class SourceFailed(FactdError):
    """A source did not answer as it should."""

    transient = True
    retry_seconds: float | None = None  # the source's own wish


class SourceGone(SourceFailed):
    """The source is gone for good."""

    transient = False


class Blocked(SourceFailed):
    """A request would have left the networks that are allowed."""

    transient = False
