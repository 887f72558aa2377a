"""The errors that the daemon raises on purpose.

FactdError
├── BadConfig       the configuration is missing or wrong; the sentence names the key
├── Refused         the action is not allowed now (frozen, nothing to do, a gate)
├── Busy            another process holds the lease that is needed (transient)
├── BadBackup       a backup is damaged, or the path is no backup; nothing of it was used
├── DownloadFailed  a package of a known model could not be had, or is another file (transient)
├── PublishFailed   a release could not be published; the previous release stays live
├── HandoverFailed  a server does not serve the new release and goes back to the old (transient)
├── NotSent         a channel did not take a notice; the notice is sent again later (transient)
└── SourceFailed    a source did not answer as it should; its cursor stays where it was (transient)
    ├── SourceGone  the source says that it is gone for good
    └── Blocked     a request would have left the allowed networks

transient = True: the same call may succeed later.
"""


class FactdError(Exception):
    """Base of the daemon's errors.

    The text is one sentence for the operator, with what to do next.
    """

    transient = False  # the same call may succeed later


class BadConfig(FactdError):
    """The configuration is missing or wrong."""


class Refused(FactdError):
    """The action must not be done now."""


class Busy(FactdError):
    """Another process holds the lease that is needed."""

    transient = True


class BadBackup(FactdError):
    """A backup is damaged, or the path is no backup. Nothing of it was used."""


class DownloadFailed(FactdError):
    """A package of a known model could not be downloaded, or is not the expected file."""

    transient = True


class PublishFailed(FactdError):
    """A release could not be published. The previous release stays live."""


class HandoverFailed(FactdError):
    """A server does not serve the release that it was handed."""

    transient = True
    retry_seconds: float | None = None  # the wait that the server asked for


class NotSent(FactdError):
    """A channel did not take a notice."""

    transient = True
    retry_seconds: float | None = None  # the wait that the receiver asked for


class SourceFailed(FactdError):
    """A source did not answer as it should."""

    transient = True
    retry_seconds: float | None = None  # the wait that the source asked for


class SourceGone(SourceFailed):
    """The source says that it is gone for good."""

    transient = False


class Blocked(SourceFailed):
    """A request would have left the allowed networks."""

    transient = False
