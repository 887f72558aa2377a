"""One hand-over to one server: ask, load, ask again, compare. A wrong result is rolled back.

The server is asked before it gets the new version, so that stale answers from a cache are noticed
afterwards. A server that can hold two versions is asked about the new one before users get it. This
file uses no database.
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
    """A version, and the answers of a server that serves it."""

    version: Version
    expected: ExpectedAnswers  # empty: there is no proof, so the server cannot be checked

    @property
    def number(self) -> int:
        """The number of the release."""
        return self.version.number


@dataclass(frozen=True, kw_only=True)
class HandoverOutcome:
    """The result of one attempt."""

    done: bool
    why: str = ""  # the reason of a failure
    transient: bool = False  # another attempt may succeed
    retry_seconds: float | None = None  # the wait that the server asked for
    restored: bool | None = None  # the version before serves again. None: it never stopped
    back: Version | None = None  # the version before, if it was loaded again
    asked: int = 0  # the number of questions after loading
    report: Report | None = None  # the last report of the server


@dataclass(frozen=True, kw_only=True)
class HandoverOrder:
    """The version that a server gets, and the version that it gets back after a failure."""

    to: Target
    back: Target | None  # the version that it is known to serve. None: none of ours
    tolerance: float  # nats: largest mean difference of logprobs
    alive: Callable[[], None]  # raises if another process has taken over


def hand_over(server: Server, order: HandoverOrder) -> HandoverOutcome:
    """Make a server serve a version, and check it. After a failure the version before is loaded."""
    try:
        server.report()
    except HandoverFailed as error:
        return _failed(
            error, order, restored=None
        )  # the server does not answer: nothing was changed
    try:
        warm_up(server, order)
        if server.stages and order.to.expected:
            _stage(server, order)
    except HandoverFailed as error:
        return _failed(error, order, restored=_restored_unless_kept(server, order))
    try:
        asked, report = _load(server, order.to, order)
    except HandoverFailed as error:
        return _failed(error, order, restored=restore(server, order))
    _unload_replaced(server, order)
    return HandoverOutcome(done=True, asked=asked, report=report)


def _restored_unless_kept(server: Server, order: HandoverOrder) -> bool | None:
    """None: users still get the version before. Else whether it could be restored."""
    return None if still_serves(server, order) else restore(server, order)


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
    """Ask the questions before loading. An answer from a cache afterwards then is the old one.

    A new server may have nothing under the users' name yet; it has no old answers either.
    """
    if server.asks:
        with suppress(HandoverFailed):
            for question, _ in order.to.expected:
                order.alive()
                server.complete(question.prompt, tokens=TOKENS)


def _stage(server: Server, order: HandoverOrder) -> None:
    """Load the version beside the one that users get, and check it there.

    Raises: HandoverFailed: the version was unloaded again.
    """
    version = order.to.version
    order.alive()
    try:
        server.stage(version)
        match = ask(server, order.to, order, staged=version)
        refuse_wrong(match, order.to)
    except HandoverFailed:
        _drop_if_possible(server.drop, version)
        raise


def _load(server: Server, target: Target, order: HandoverOrder) -> tuple[int, Report]:
    """Load a version for users, and check it: (number of questions, report).

    Raises: HandoverFailed.
    """
    order.alive()
    server.load(target.version)
    report = server.report()
    if report.serving is not None and report.serving != target.version.name:
        raise _mismatch(
            f"it was given {target.version.name} and reports that it serves {report.serving}"
        )
    match = ask(server, target, order)
    if match is not None:
        refuse_wrong(match, target)
    return (match.asked if match else 0), report


def ask(
    server: Server, target: Target, order: HandoverOrder, *, staged: Version | None = None
) -> Match | None:
    """Compare the server's answers with the expected ones. None: it cannot be asked.

    Raises: HandoverFailed.
    """
    return compare_answers(
        server, target, tolerance=order.tolerance, staged=staged, before_each=order.alive
    )


def compare_answers(
    server: Server,
    target: Target,
    *,
    tolerance: float,
    staged: Version | None = None,
    before_each: Callable[[], None] = lambda: None,
) -> Match | None:
    """As `ask`, outside of a hand-over."""
    if not server.asks or not target.expected:
        return None
    answers = []
    for question, _ in target.expected:
        before_each()
        answers.append(server.complete(question.prompt, tokens=TOKENS, staged=staged))
    return compare(target.expected, answers, tolerance=tolerance)


def refuse_wrong(match: Match | None, target: Target) -> None:
    """Raises: HandoverFailed: an answer is wrong. Not transient: another attempt loads the same."""
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
    """Users still get the version before. A server that crashed while staging does not serve it."""
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


def restore(server: Server, order: HandoverOrder) -> bool:
    """Load the version before again, and check it. False: that failed too, or there is none."""
    if order.back is None:
        return False
    try:
        _load(server, order.back, order)
        if order.back.number != order.to.number:
            _drop_if_possible(server.drop, order.to.version)
    except HandoverFailed as error:
        log.error("server not restored", release=order.back.number, why=str(error))
        return False
    return True


def _unload_replaced(server: Server, order: HandoverOrder) -> None:
    """Unload the version that users no longer get. If that fails the hand-over still counts."""
    if order.back is not None and order.back.version.name != order.to.version.name:
        _drop_if_possible(server.drop, order.back.version)


def _drop_if_possible(drop: Callable[[Version], None], version: Version) -> None:
    try:
        drop(version)
    except HandoverFailed as error:
        log.warning("version not dropped", version=version.name, why=str(error))
