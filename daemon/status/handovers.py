"""Hand-overs of releases to servers as lines of text, and which of them failed."""

from collections.abc import Sequence

from factd.store.model.handovers import Handover, HandoverStatus


def handover_lines(handovers: Sequence[Handover]) -> list[str]:
    """A line for each hand-over."""
    return [handover_line(handover) for handover in handovers]


def handover_line(handover: Handover) -> str:
    """When a release was handed to a server, and how that ended."""
    when = f"{handover.changed_at:%Y-%m-%d %H:%M:%S}"
    head = f"{when}  {handover.server:<12} release {handover.release:<5}"
    if handover.status is HandoverStatus.DONE:
        questions = handover.detail.get("asked", 0)
        proof = f"{questions} answers fit" if questions else "not asked"
        return f"{head} done in {handover.detail.get('seconds', 0):.1f} s, {proof}"
    restored = {
        True: "; the server serves the version before again",
        False: "; THE VERSION BEFORE IS NOT RESTORED",
        None: "",
    }[handover.restored]
    error = f": {handover.error}{restored}" if handover.error else ""
    return f"{head} {handover.status.value}, attempt {handover.attempts}{error}"


def failed_handovers(handovers: Sequence[Handover]) -> list[Handover]:
    """The last hand-over of each server that did not take its release."""
    newest = {h.server: h for h in sorted(handovers, key=lambda h: h.id)}
    return [h for h in newest.values() if h.status is not HandoverStatus.DONE]
