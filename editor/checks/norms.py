"""Norms: how far the weights moved, per layer, and how much of their capacity the edits use.

Explained in docs/explanation/editing.md §5.
"""

from factd.editor.checks import Check, Evidence, Measurement

KINDS: tuple[str, ...] = ()  # measures weights, not answers


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """The diagnostics of the delta: ‖W‖/‖W_base‖, ‖ΔW‖/‖W_base‖, highest leverage, error of z."""
    return tuple(
        Measurement(
            check="norms",
            metric=name,
            language="all",
            value=value,
            low=value,
            high=value,
            sample_size=1,
        )
        for name, value in sorted(evidence.diagnostics.items())
    )


_: Check = check
