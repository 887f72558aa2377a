"""`factd rebase`: bakes the facts of the live release into a new base, to free the edited layers.

1. *bake*: the live release's base and delta are summed, rounded once, and written as a folder of
   their own (daemon/publishing/bases.py).
2. *verify*: the files are compared with their manifest. Loaded in a fresh process, the base gives
   the logits of the checked candidate. In a sample, as in an audit, it gives the answers of the
   live release.
3. *statistics*: the second moments of the new base are built.
4. The base is marked as verified and gets a release without a delta: the same tensors as the live
   release.
5. That release is published. In the same transaction the base takes effect and its facts are marked
   as baked.

The base in effect is always that of the live release (`Release.base`); nothing else records it. A
baked fact stays current, but the base model holds it: it is never written again, needs no capacity,
and is probed as knowledge that must be kept. A newer claim is an ordinary edit of the new base.

To go back, by `factd rebase --undo` or `factd rollback --to`, a release of the older base is
published. That base is in effect again, and the facts baked since are edits again. The next edit
gives the weights that it would have given without the rebase. Until then, the facts of a release
that was written on the newer base are not served.

If a rebase is killed before step 4, the next process abandons it. If it is killed later, the next
`factd rebase` goes on with it.
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
from factd.editor.errors import EditorError
from factd.editor.files.folders import verify_folder
from factd.store import queries
from factd.store.model.bases import Base, BaseStatus
from factd.store.model.releases import Release, ReleaseStatus

STEPS = 5  # bake, verify, facts, statistics, publish


@dataclass(frozen=True, kw_only=True)
class RebaseResult:
    """The base that a rebase brought into effect."""

    base: int  # number of the new base
    made_of: int  # number of the release that was baked
    release: int  # number of the live release
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
class UndoResult:
    """A rebase that was taken back."""

    base: int  # number of the base that was in effect
    in_effect: int  # number of the base that is now
    release: int  # number of the live release
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
def rebase(app: App, *, who: str, why: str, progress: Progress = quiet) -> RebaseResult:
    """Bake the live release into a new base and publish that.

    Raises: Refused: with the reason, and the release that still serves.
    """
    app.ledger.refuse_if_frozen()
    started, live = time.monotonic(), candidates.live_release(app.ledger)
    with bound(release=live.number):
        base = _unpublished_base(app.ledger, live) or _make_base(app, live, who, why, progress)
        progress("publish", 4, STEPS)
        with app.ledger.read() as session:
            number = queries.bases.release_of_base(session, base.number)
        publish.publish(
            app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, number
        )
    return RebaseResult(
        base=base.number,
        made_of=live.number,
        release=number,
        facts=len(live.fact_ids),
        fingerprint=base.fingerprint,
        seconds=round(time.monotonic() - started, 3),
    )


def _unpublished_base(ledger: Ledger, live: Release) -> Base | None:
    """A base that a killed process made of this release, before it could publish it."""
    with ledger.read() as session:
        waiting = {
            r.base for r in queries.releases.releases_with_status(session, ReleaseStatus.ACCEPTED)
        }
        verified = queries.bases.list_bases(session, BaseStatus.VERIFIED)
    made = (base for base in verified if base.release == live.number and base.number in waiting)
    return next(made, None)


def _make_base(app: App, live: Release, who: str, why: str, progress: Progress) -> Base:
    """Make a verified base of the live release. Raises: Refused: the base was abandoned."""
    refuse_unfit(app.ledger, live)
    parent = app.workbench.model().fingerprint
    with app.ledger.changing() as session:
        base = queries.bases.add_base(
            session, live, parent_fingerprint=parent, who=who, why=why, now=app.ledger.now()
        )
    log.info("base in preparation", base=base.number, facts=len(live.fact_ids))
    try:
        fingerprint = _bake_and_verify(app, live, base, progress)
    except (EditorError, Refused, OSError) as error:
        bases.abandon(app.ledger, app.paths, base, str(error))
        raise Refused(
            f"the rebase is abandoned, release {live.number} still serves: {error}"
        ) from error
    return _accept(app.ledger, live, base, fingerprint)


def refuse_unfit(ledger: Ledger, live: Release) -> None:
    """Raises: Refused: there is nothing to bake, or facts of the release are outdated."""
    if live.candidate_id is None or not live.fact_ids:
        raise Refused(
            f"release {live.number} holds no facts but those of its base; there is nothing to bake"
        )
    outdated = doubts.outdated(ledger, live)
    if outdated:
        raise Refused(
            f"release {live.number} is not baked: {outdated}; "
            "`factd edit --publish` takes it out first"
        )


def _bake_and_verify(app: App, live: Release, base: Base, progress: Progress) -> str:
    """Bake a base, verify it and build its statistics. Returns its fingerprint.

    Raises: EditorError, Refused: its answers differ from those of the release.
    """
    from factd.editor.deltas.delta import load_delta  # needs torch
    from factd.editor.deltas.reload import verify_reload

    progress("bake", 0, STEPS)
    folder = bases.write(app.ledger, app.paths, base)
    progress("verify", 1, STEPS)
    verify_folder(folder)
    delta = load_delta(app.paths.candidate(live.candidate_id or 0) / "delta")
    verify_reload(app.workbench.model(), delta, folder)
    progress("facts", 2, STEPS)
    decision = audit.examine_files(app, live, folder).decision
    if not decision.accepted:
        raise Refused(f"it does not say what the release says: {decision.reasons[0]}")
    progress("statistics", 3, STEPS)
    app.workbench.loaded = None  # frees memory for the new base
    return _build_statistics(on_base(app, base.number).workbench, progress)


def _build_statistics(workbench: Workbench, progress: Progress) -> str:
    """Build the second moments of a base if the method needs them. Returns its fingerprint."""
    from factd.editor.methods._write import second_moments  # needs torch

    model, settings = workbench.model(), workbench.method_settings()
    if hasattr(settings, "second_moment_tokens"):
        second_moments(model, settings, workbench.workspace, progress)
    return model.fingerprint


def _accept(ledger: Ledger, live: Release, base: Base, fingerprint: str) -> Base:
    """Mark a base as verified and create its release, in one transaction."""
    now, verified = ledger.now(), BaseStatus.VERIFIED
    with ledger.changing() as session:
        queries.bases.move_base(
            session, base.number, base.status, verified, now=now, fingerprint=fingerprint
        )
        release = queries.releases.create_release(
            session,
            candidate_id=None,
            delta_id=None,
            fact_ids=(),
            who=base.who,
            why=f"{base.describe()}: {base.why}",
            now=now,
            base=base.number,
        )
        queries.releases.withdraw_older_accepted(session, release.number, now=now)
        what = f"rebase of release {live.number}: base {base.number}, release {release.number}"
        queries.releases.log_action(session, who=base.who, what=what, why=base.why, now=now)
        base = queries.bases.base(session, base.number)
    log.info("base verified", base=base.number, fingerprint=fingerprint[:12])
    return base


def undo(app: App, *, who: str, why: str) -> UndoResult:
    """Put the base before into effect again, with the release that was baked. Loads no model.

    Raises: Refused: there is no rebase to undo, or the older base was pruned, or factd is frozen.
    PublishFailed.
    """
    app.ledger.refuse_if_frozen()
    live = candidates.live_release(app.ledger)
    if live.base == 0:
        raise Refused(
            f"release {live.number} stands on the original model; no rebase is in effect to undo"
        )
    with app.ledger.read() as session:
        base, *before = queries.bases.lineage(session, live.base)
    if before and before[0].status is BaseStatus.PRUNED:
        raise Refused(f"base {base.parent} was pruned; the rebase cannot be undone any more")
    with app.ledger.changing() as session:
        what = f"rebase --undo of base {base.number}"
        queries.releases.log_action(session, who=who, what=what, why=why, now=app.ledger.now())
    published = publish.publish(
        app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, base.release
    )
    return UndoResult(
        base=base.number,
        in_effect=published.base,
        release=published.number,
        facts=len(published.fact_ids),
        waiting=tuple(id_ for id_ in live.fact_ids if id_ not in published.fact_ids),
    )
