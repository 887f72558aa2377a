"""`factd rebase`: the facts of the live release are baked into a new base, so that the edited layers are free again.

1. *bake*: the live release's base and delta, summed and rounded once, as a folder of its own (daemon/publishing/bases.py);
2. *verify*: its files against their manifest; loaded in a fresh process it gives the logits of the checked candidate; what
   the live release answers is answered by it, in a sample, as an audit asks;
3. *statistics*: the second moments of the new base;
4. the base is verified, and a release with no delta stands on it: the same tensors as the live one;
5. that release is published. With it the base is in effect and its facts are marked as baked, in one transaction.

The base in effect is always that of the live release (`Release.base`): nothing else says which one it is. What is baked is
current as before but held by the base model: it is never written again, needs no capacity, and is asked about as what must
stay. A newer claim is an ordinary edit of the new base. Going back, by `factd rebase --undo` or `factd rollback --to`, is
publishing a release of the older base: that one is in effect again, what was baked since is an edit again, and the next edit
gives the weights that it had given had there been no rebase. A release that was written on the newer base is out for as long
as that takes. Killed before 4, a rebase is abandoned by the next process; after it, the next `factd rebase` goes on.
"""

import time
from dataclasses import dataclass
from typing import Any

from factd.daemon.app import App, on_base
from factd.daemon.approvals import doubts
from factd.daemon.editing import candidates
from factd.daemon.editing.candidates import Progress, quiet
from factd.daemon.errors import Refused
from factd.daemon.ledger import Ledger
from factd.daemon.log import bound, log
from factd.daemon.publishing import bases, publish
from factd.daemon.tasks import audit
from factd.daemon.tracing import span
from factd.daemon.workbench import Workbench
from factd.store import queries
from factd.store.model.bases import Base, BaseStatus
from factd.store.model.releases import Release, ReleaseStatus

STEPS = 5  # bake, verify, facts, statistics, publish


@dataclass(frozen=True, kw_only=True)
class Rebased:
    """What is in effect now."""

    base: int
    made_of: int  # release
    release: int  # that is live
    facts: int  # that were baked
    fingerprint: str
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return vars(self)

    def lines(self) -> list[str]:
        """For people."""
        held = f"base {self.base} holds {self.facts} facts of release {self.made_of}"
        return [f"{held}; release {self.release} is live on it ({self.seconds:.1f} s)"]


@dataclass(frozen=True, kw_only=True)
class Undone:
    """A rebase that was taken back."""

    base: int  # that was in effect
    in_effect: int
    release: int  # that is live
    facts: int  # that are edits again
    waiting: tuple[str, ...]  # facts that were written since, and wait to be written again

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**vars(self), "waiting": list(self.waiting)}

    def lines(self) -> list[str]:
        """For people."""
        live = f"base {self.in_effect} is in effect again with release {self.release}"
        waiting = f"{len(self.waiting)} facts written since wait: `factd edit --publish`"
        return [f"{live}: {self.facts} facts are edits again", *[waiting][: len(self.waiting)]]


@span("rebase")
def rebase(app: App, *, who: str, why: str, progress: Progress = quiet) -> Rebased:
    """Bake the live release into a new base and bring that out. Raises: Refused: why not, and what still serves."""
    publish.refuse_frozen(app.ledger)
    started, live = (time.monotonic(), candidates.live_of(app.ledger))
    with bound(release=live.number):
        base = _ready(app.ledger, live) or _made(app, live, who, why, progress)
        progress("publish", 4, STEPS)
        with app.ledger.read() as session:
            number = queries.bases.release_of(session, base.number)
        publish.publish(
            app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, number
        )
    return Rebased(
        base=base.number,
        made_of=live.number,
        release=number,
        facts=len(live.fact_ids),
        fingerprint=base.fingerprint,
        seconds=round(time.monotonic() - started, 3),
    )


def _ready(ledger: Ledger, live: Release) -> Base | None:
    """A base that an earlier process made of this release, and whose own release was not published any more."""
    with ledger.read() as session:
        waiting = {r.base for r in queries.releases.releases_in(session, ReleaseStatus.ACCEPTED)}
        verified = queries.bases.list_bases(session, BaseStatus.VERIFIED)
    mine = (base for base in verified if base.release == live.number and base.number in waiting)
    return next(mine, None)


def _made(app: App, live: Release, who: str, why: str, progress: Progress) -> Base:
    from factd.editor.errors import EditorError

    refuse_unfit(app.ledger, live)
    parent = app.workbench.model().fingerprint
    with app.ledger.changing() as session:
        base = queries.bases.add_base(
            session, live, parent_fingerprint=parent, who=who, why=why, now=app.ledger.now()
        )
    log.info("base in preparation", base=base.number, facts=len(live.fact_ids))
    try:
        fingerprint = _proven(app, live, base, progress)
    except (EditorError, Refused, OSError) as error:
        bases.abandon(app.ledger, app.paths, base, str(error))
        raise Refused(
            f"the rebase is abandoned, release {live.number} still serves: {error}"
        ) from error
    return _accepted(app.ledger, live, base, fingerprint)


def refuse_unfit(ledger: Ledger, live: Release) -> None:
    """Raises: Refused: there is nothing to bake, or something that should not be in any base."""
    if live.candidate_id is None or not live.fact_ids:
        raise Refused(
            f"release {live.number} holds no facts but those of its base; there is nothing to bake"
        )
    gone = doubts.outdated(ledger, live)
    if gone:
        raise Refused(
            f"release {live.number} is not baked: {gone}; `factd edit --publish` takes it out first"
        )


def _proven(app: App, live: Release, base: Base, progress: Progress) -> str:
    """Bake, verify and build the statistics of a base; its fingerprint. Raises: EditorError, Refused."""
    from factd.editor.deltas.delta import load_delta
    from factd.editor.deltas.reload import verify_reload
    from factd.editor.files.folders import verify_folder

    progress("bake", 0, STEPS)
    folder = bases.write(app.ledger, app.paths, base)
    progress("verify", 1, STEPS)
    verify_folder(folder)
    delta = load_delta(app.paths.candidate(live.candidate_id or 0) / "delta")
    verify_reload(app.workbench.model(), delta, folder)
    progress("facts", 2, STEPS)
    seen = audit.look(app, live, folder)
    if not seen.decision.accepted:
        raise Refused(f"it does not say what the release says: {seen.decision.reasons[0]}")
    progress("statistics", 3, STEPS)
    app.workbench.loaded = None  # the base before is not needed any more: memory for the new one
    return _with_statistics(on_base(app, base.number).workbench, progress)


def _with_statistics(workbench: Workbench, progress: Progress) -> str:
    """The second moments of a base, where the method needs them; its fingerprint."""
    from factd.editor.methods._write import second_moments

    model, settings = workbench.model(), workbench.method_settings()
    if hasattr(settings, "second_moment_tokens"):
        second_moments(model, settings, workbench.workspace, progress)
    return model.fingerprint


def _accepted(ledger: Ledger, live: Release, base: Base, fingerprint: str) -> Base:
    """The base is verified, and has its release."""
    now, done = ledger.now(), BaseStatus.VERIFIED
    with ledger.changing() as session:
        queries.bases.move_base(
            session, base.number, base.status, done, now=now, fingerprint=fingerprint
        )
        made = queries.releases.create_release(
            session,
            candidate_id=None,
            delta_id=None,
            fact_ids=(),
            who=base.who,
            why=f"{base.said()}: {base.why}",
            now=now,
            base=base.number,
        )
        queries.releases.withdraw_overtaken(session, made.number, now=now)
        what = f"rebase of release {live.number}: base {base.number}, release {made.number}"
        queries.releases.record(session, who=base.who, what=what, why=base.why, now=now)
        base = queries.bases.base(session, base.number)
    log.info("base verified", base=base.number, fingerprint=fingerprint[:12])
    return base


def undo(app: App, *, who: str, why: str) -> Undone:
    """The base before is in effect again, with the release that was baked; no model is loaded.

    Raises: Refused: there is no rebase to undo, it cannot be any more, or factd is frozen. PublishFailed.
    """
    publish.refuse_frozen(app.ledger)
    live = candidates.live_of(app.ledger)
    if live.base == 0:
        raise Refused(f"release {live.number} stands on the original model; no rebase is in effect")
    with app.ledger.read() as session:
        base, *before = queries.bases.lineage(session, live.base)
    if before and before[0].status is BaseStatus.PRUNED:
        raise Refused(f"base {base.parent} was pruned; the rebase cannot be undone any more")
    with app.ledger.changing() as session:
        what = f"rebase --undo of base {base.number}"
        queries.releases.record(session, who=who, what=what, why=why, now=app.ledger.now())
    found = publish.publish(
        app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, base.release
    )
    return Undone(
        base=base.number,
        in_effect=found.base,
        release=found.number,
        facts=len(found.fact_ids),
        waiting=tuple(id_ for id_ in live.fact_ids if id_ not in found.fact_ids),
    )
