"""The actions of an operator, the same for pages and API.

Each asks for a reason and is a line of the audit log.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from factd.daemon.app import App, writing
from factd.daemon.approvals import decisions
from factd.daemon.errors import Refused
from factd.daemon.publishing import publish
from factd.daemon.status.version_files import missing_files_text
from factd.daemon.web.errors import BadRequest
from factd.store import operations, queries
from factd.store.errors import NotFound
from factd.store.model.releases import ReleaseStatus

LONGEST_WHY = 500  # characters of a reason
LARGEST = 2**31 - 1  # the largest number of a release

Perform = Callable[[App, str, str, str], None]  # application, target, who, why


@dataclass(frozen=True, kw_only=True)
class Action:
    """One action: its button, its confirmation page, and the function that does it."""

    name: str  # in addresses
    label: str  # of the button
    title: str  # of the confirmation page; {} stands for the target
    means: str  # what will follow, shown before it is done
    done: str  # shown afterwards; {} stands for the target
    kind: str  # what the target is: release, fact, or "" if the action is about all of factd
    grave: bool  # it takes something away or stops something: the button is red
    perform: Perform

    def page(self, target: str) -> str:
        """The address of the page about the target."""
        return {"release": f"/releases/{target}", "fact": f"/facts/{target}"}.get(self.kind, "/")


def reason(text: str) -> str:
    """The reason with its white space tidied.

    Raises: BadRequest: it is empty, too long or unprintable.
    """
    tidied = " ".join(text.split())
    if not tidied or len(tidied) > LONGEST_WHY:
        raise BadRequest(f"a reason is needed, of at most {LONGEST_WHY} characters")
    if not all(character.isprintable() for character in tidied):
        raise BadRequest("the reason holds characters that cannot be shown; remove them")
    return tidied


def number(text: str) -> int:
    """The number of a release. Raises: NotFound."""
    if not (text.isascii() and text.isdigit()) or int(text[:11]) > LARGEST:
        raise NotFound(f"no release {text[:20]!r}")
    return int(text)


def _approve(app: App, target: str, who: str, why: str) -> None:
    decisions.approve(app.ledger, number(target), who=who, why=why)


def _refuse(app: App, target: str, who: str, why: str) -> None:
    decisions.refuse(app.ledger, number(target), who=who, why=why)


def _roll_back(app: App, target: str, who: str, why: str) -> None:
    """Make an earlier release live.

    Only if its files are on disk: the console never writes them.
    """
    chosen = number(target)
    with app.ledger.read() as session:
        release = queries.releases.release(session, chosen)
    if release.live_at is None:
        raise Refused(f"release {chosen} was never live; approve it instead")
    if release.status is ReleaseStatus.LIVE:
        raise Refused(f"release {chosen} is live already")
    if not app.versions.has(chosen):
        missing = missing_files_text(app.ledger, app.paths, release)
        raise Refused(f"{missing}; then roll back. Nothing was changed")
    with writing(app, seize=True) as own:
        publish.roll_back_to(
            own.ledger, own.paths, own.versions, own.fleet, chosen, who=who, why=why
        )


def _withdraw(app: App, target: str, who: str, why: str) -> None:
    """Withdraw a fact, and queue an edit unless one is queued already or factd is frozen."""
    now = app.ledger.now()
    with app.ledger.begin() as session:
        queries.resolution.withdraw(
            session, [target], app.ledger.resolver, why=why, who=who, now=now
        )
        queued = any(task.kind == "edit" for task in operations.tasks.open_tasks(session))
        if not queued and queries.releases.frozen(session) is None:
            operations.tasks.add_task(session, "edit", {"why": f"{who}: {why}"}, now=now)


def _freeze(app: App, _: str, who: str, why: str) -> None:
    with app.ledger.begin() as session:
        queries.releases.freeze(session, why=why, who=who, now=app.ledger.now())


def _unfreeze(app: App, _: str, who: str, why: str) -> None:
    with app.ledger.begin() as session:
        if not queries.releases.unfreeze(session, who=who, why=why, now=app.ledger.now()):
            raise Refused("factd is not frozen")


ACTIONS: Mapping[str, Action] = {
    action.name: action
    for action in (
        Action(
            name="approve",
            label="Approve",
            title="Approve release {}",
            means="The daemon publishes this release at its next edit tick. "
            "It does not while factd is frozen, or if the facts to write have changed "
            "since the release was made: then it makes another candidate.",
            done="Release {} is approved; the daemon publishes it at its next edit tick.",
            kind="release",
            grave=False,
            perform=_approve,
        ),
        Action(
            name="refuse",
            label="Reject",
            title="Reject release {}",
            means="The release is withdrawn and never published. "
            "The same batch is not written again.",
            done="Release {} is rejected and will not be published.",
            kind="release",
            grave=True,
            perform=_refuse,
        ),
        Action(
            name="roll-back",
            label="Roll back to it",
            title="Roll back to release {}",
            means="The published link is switched to this release at once; no model is loaded. "
            "The daemon hands the release to the configured servers at its next tick. "
            "factd is frozen, so that no later edit replaces the release before you unfreeze.",
            done="Release {} is live again. factd is frozen until you unfreeze it.",
            kind="release",
            grave=True,
            perform=_roll_back,
        ),
        Action(
            name="withdraw",
            label="Withdraw",
            title="Withdraw fact {}",
            means="This value is never written again, whichever source claims it. The next edit "
            "makes a release with the weights that would exist had the fact never been written. "
            "Until that release is published, the live release still gives this answer. "
            "While factd is frozen no edit runs.",
            done="Fact {} is withdrawn; the next edit makes a release without it.",
            kind="fact",
            grave=True,
            perform=_withdraw,
        ),
        Action(
            name="freeze",
            label="Freeze",
            title="Freeze factd",
            means="No edit is made and nothing is published until somebody unfreezes factd. "
            "The live release stays live.",
            done="factd is frozen.",
            kind="",
            grave=True,
            perform=_freeze,
        ),
        Action(
            name="unfreeze",
            label="Unfreeze",
            title="Unfreeze factd",
            means="Edits and publishing start again at the daemon's next tick.",
            done="factd is no longer frozen.",
            kind="",
            grave=False,
            perform=_unfreeze,
        ),
    )
}


def action_named(name: str) -> Action:
    """The action of this name. Raises: NotFound."""
    if name not in ACTIONS:
        raise NotFound(f"no action is called {name[:30]!r}")
    return ACTIONS[name]
