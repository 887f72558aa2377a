"""One hand-over to one server: ask, load, ask again, compare; what is not as it should be is taken back. No database here.

The server is asked before it gets the new version, so that what it answers from a cache afterwards is found out. Where it holds
two versions, the new one is asked before its users get it.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from factd.daemon.artefacts.proof import TOKENS, CertainAnswer, Match, Question, compare
from factd.daemon.errors import HandoverFailed
from factd.daemon.log import log
from factd.daemon.servers import Report, Server, Version

ExpectedAnswers = Sequence[tuple[Question, CertainAnswer]]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A version, and what a server that serves it says."""

    version: Version
    wanted: ExpectedAnswers  # empty: nobody knows, so that it cannot be asked

    @property
    def number(self) -> int:
        """Of the release."""
        return self.version.number


@dataclass(frozen=True, kw_only=True)
class HandoverOutcome:
    """How a hand-over ended."""

    done: bool
    why: str = ""  # it failed
    transient: bool = False  # the same may succeed later
    retry_seconds: float | None = None  # the server's own wish
    restored: bool | None = None  # the version before serves; None: it was never away
    back: Version | None = None  # the version before, where it was loaded again
    asked: int = 0  # questions, after it was loaded
    report: Report | None = None  # what the server says in the end


@dataclass(frozen=True, kw_only=True)
class HandoverOrder:
    """What a server is to serve, and what it is to serve where that fails."""

    to: Target
    back: Target | None  # what it is known to have served; None: nothing that we gave it
    tolerance: float  # of logprobs, nats
    alive: Callable[[], None]  # raises where another process has taken over


def hand_over(server: Server, order: HandoverOrder) -> HandoverOutcome:
    """Make a server serve a version and prove it; on any failure the version before is loaded again."""
    try:
        server.report()
    except HandoverFailed as error:
        return _failed(
            error, order, restored=None
        )  # nothing was done to one that does not even answer
    try:
        warm_up(server, order)
        if server.stages and order.to.wanted:
            _staged(server, order)
    except HandoverFailed as error:
        return _failed(error, order, restored=_kept(server, order))
    try:
        asked, report = _served(server, order.to, order)
    except HandoverFailed as error:
        return _failed(error, order, restored=restored(server, order))
    _drop(server, order)
    return HandoverOutcome(done=True, asked=asked, report=report)


def _kept(server: Server, order: HandoverOrder) -> bool | None:
    """None where users get what they got; else whether it was restored."""
    return None if still_serves(server, order) else restored(server, order)


def _failed(
    error: HandoverFailed, order: HandoverOrder, *, restored: bool | None
) -> HandoverOutcome:
    return HandoverOutcome(
        done=False,
        why=str(error),
        transient=error.transient,
        retry_seconds=error.retry_seconds,
        restored=restored,
        back=order.back.version if restored and order.back else None,
    )


def warm_up(server: Server, order: HandoverOrder) -> None:
    """Ask what will be asked afterwards: an answer that comes from a cache then is an old one.

    A server that was given nothing yet may have nothing under the name that users ask for; it has no old answers either.
    """
    if server.asks:
        with suppress(HandoverFailed):
            for question, _ in order.to.wanted:
                order.alive()
                server.complete(question.prompt, tokens=TOKENS)


def _staged(server: Server, order: HandoverOrder) -> None:
    """Load it beside the one that users get, and ask it there. Raises: HandoverFailed: it is not staged any more."""
    version = order.to.version
    order.alive()
    try:
        server.stage(version)
        match = ask(server, order.to, order, staged=version)
        refuse_wrong(match, order.to)
    except HandoverFailed:
        _quietly(server.drop, version)
        raise


def _served(server: Server, target: Target, order: HandoverOrder) -> tuple[int, Report]:
    """Load a version for its users, and prove it: the number of questions, and the report. Raises: HandoverFailed."""
    order.alive()
    server.load(target.version)
    report = server.report()
    if report.serving is not None and report.serving != target.version.name:
        raise _mismatch(
            f"it was given {target.version.name} and says that it serves {report.serving}"
        )
    match = ask(server, target, order)
    if match is not None:
        refuse_wrong(match, target)
    return (match.asked if match else 0), report


def ask(
    server: Server, target: Target, order: HandoverOrder, *, staged: Version | None = None
) -> Match | None:
    """The server's answers beside what the version says; None: it cannot be asked. Raises: HandoverFailed."""
    return ask_some(
        server, target, tolerance=order.tolerance, staged=staged, before_each=order.alive
    )


def ask_some(
    server: Server,
    target: Target,
    *,
    tolerance: float,
    staged: Version | None = None,
    before_each: Callable[[], None] = lambda: None,
) -> Match | None:
    """As `ask`, outside of a hand-over."""
    if not server.asks or not target.wanted:
        return None
    got = []
    for question, _ in target.wanted:
        before_each()
        got.append(server.complete(question.prompt, tokens=TOKENS, staged=staged))
    return compare(target.wanted, got, tolerance=tolerance)


def refuse_wrong(match: Match | None, target: Target) -> None:
    """Raises: HandoverFailed: not transient, for the same would be loaded again."""
    if match is not None and match.wrong:
        share = (
            f"{len(match.wrong)} of {match.asked} answers are not those of release {target.number}"
        )
        raise _mismatch(f"{share}: {match.wrong[0]}")


def _mismatch(sentence: str) -> HandoverFailed:
    failed = HandoverFailed(sentence)
    failed.transient = False
    return failed


def still_serves(server: Server, order: HandoverOrder) -> bool:
    """Its users get what they got; one that ended over a version that it was only to hold has lost that, too."""
    if order.back is None:
        return False
    try:
        serving = server.report().serving
        if serving is not None:
            return serving == order.back.version.name
        match = ask(server, order.back, order)
    except HandoverFailed:
        return False
    return match is not None and match.fits


def restored(server: Server, order: HandoverOrder) -> bool:
    """The version before is loaded again and proven; False where that fails too, or there was none."""
    if order.back is None:
        return False
    try:
        _served(server, order.back, order)
        if order.back.number != order.to.number:
            _quietly(server.drop, order.to.version)
    except HandoverFailed as error:
        log.error("server not restored", release=order.back.number, why=str(error))
        return False
    return True


def _drop(server: Server, order: HandoverOrder) -> None:
    """What users do not get any more; that it stays in the server's memory is no failure."""
    if order.back is not None and order.back.version.name != order.to.version.name:
        _quietly(server.drop, order.back.version)


def _quietly(drop: Callable[[Version], None], version: Version) -> None:
    try:
        drop(version)
    except HandoverFailed as error:
        log.warning("version not dropped", version=version.name, why=str(error))
