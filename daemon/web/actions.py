"""What an operator can do, for pages and API alike: each asks for a reason and is a line of the audit log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from factd.daemon.app import App, writing
from factd.daemon.approvals import decisions
from factd.daemon.errors import Refused
from factd.daemon.publishing import publish
from factd.daemon.web.errors import Mistaken
from factd.store import operations, queries
from factd.store.errors import NotFound
from factd.store.model.releases import ReleaseStatus

LONGEST_WHY = 500
LARGEST = 2**31 - 1  # of a release's number

Perform = Callable[[App, str, str, str], None]  # what it is about, who, why


@dataclass(frozen=True, kw_only=True)
class Action:
    """One thing that can be done."""

    name: str  # in addresses
    label: str  # of the button
    title: str  # with {} for what it is about
    means: str  # what follows, before it is done
    done: str  # afterwards, with {}
    kind: str  # of what it is about: release, fact, or "" for all of factd
    grave: bool  # something goes, or stands still
    perform: Perform

    def page(self, target: str) -> str:
        """The address of what it is about."""
        return {"release": f"/releases/{target}", "fact": f"/facts/{target}"}.get(self.kind, "/")


def reason(text: str) -> str:
    """A reason as it is kept. Raises: Mistaken: there is none, or too much of it."""
    found = " ".join(text.split())
    if not found or len(found) > LONGEST_WHY:
        raise Mistaken(f"a reason is needed, of at most {LONGEST_WHY} characters")
    if not all(character.isprintable() for character in found):
        raise Mistaken("the reason holds characters that cannot be shown")
    return found


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
    chosen = number(target)
    with app.ledger.read() as session:
        release = queries.releases.release(session, chosen)
    if release.live_at is None:
        raise Refused(f"release {chosen} was never live; approve it instead")
    if release.status is ReleaseStatus.LIVE:
        raise Refused(f"release {chosen} is live already")
    if not app.versions.has(chosen):
        raise Refused(
            f"version {chosen} is not on disk; `factd rollback --to {chosen}` writes it again "
            "and rolls back to it"
        )
    with writing(app, seize=True) as own:
        publish.roll_back_to(
            own.ledger, own.paths, own.versions, own.fleet, chosen, who=who, why=why
        )


def _withdraw(app: App, target: str, who: str, why: str) -> None:
    with app.ledger.begin() as session:
        queries.resolution.withdraw(
            session, [target], app.ledger.resolver, why=why, who=who, now=app.ledger.now()
        )
        waits = any(task.kind == "edit" for task in operations.tasks.open_tasks(session))
        if not waits and queries.releases.frozen(session) is None:
            operations.tasks.add_task(
                session, "edit", {"why": f"{who}: {why}"}, now=app.ledger.now()
            )


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
            means="The daemon publishes it at its next tick, unless factd is frozen.",
            done="Release {} is approved; the daemon publishes it at its next tick.",
            kind="release",
            grave=False,
            perform=_approve,
        ),
        Action(
            name="refuse",
            label="Reject",
            title="Reject release {}",
            means="It is withdrawn and never published; the same batch is not proposed again.",
            done="Release {} is rejected and will not be published.",
            kind="release",
            grave=True,
            perform=_refuse,
        ),
        Action(
            name="roll-back",
            label="Roll back to it",
            title="Roll back to release {}",
            means="It serves at once: a link is swapped, no model is loaded. factd is frozen, so that nothing undoes it.",
            done="Release {} is live again. factd is frozen until you unfreeze it.",
            kind="release",
            grave=True,
            perform=_roll_back,
        ),
        Action(
            name="withdraw",
            label="Withdraw",
            title="Withdraw fact {}",
            means="Its value is not believed any more, whoever claims it. The next edit writes the weights that would "
            "exist had it never been written; until that is published, the live release still says it.",
            done="Fact {} is withdrawn; the next edit writes a release without it.",
            kind="fact",
            grave=True,
            perform=_withdraw,
        ),
        Action(
            name="freeze",
            label="Freeze",
            title="Freeze factd",
            means="Nothing is written or published until somebody unfreezes it; what is live keeps serving.",
            done="factd is frozen.",
            kind="",
            grave=True,
            perform=_freeze,
        ),
        Action(
            name="unfreeze",
            label="Unfreeze",
            title="Unfreeze factd",
            means="Writing and publishing go on at the next tick.",
            done="factd goes on.",
            kind="",
            grave=False,
            perform=_unfreeze,
        ),
    )
}


def action_named(name: str) -> Action:
    """Raises: NotFound."""
    if name not in ACTIONS:
        raise NotFound(f"nothing to do is called {name[:30]!r}")
    return ACTIONS[name]
