"""What the daemon refuses, and why.

FactdError
├── BadConfig       the configuration is missing or wrong (names the key)
├── Refused         the thing asked for must not be done now (frozen, nothing to do, a gate); says what to do
├── Busy            somebody else holds the lock of the state directory (transient)
└── PublishFailed   a publisher could not bring a release out; the previous one still serves
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


class PublishFailed(FactdError):
    """A release could not be brought out; the previous one still serves."""
