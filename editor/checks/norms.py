"""Norms: how far the weights moved, per layer, and how much of their capacity is used (EDITING §5)."""

from factd.editor.checks import Check, Evidence, Measurement


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """‖W‖/‖W_base‖, ‖ΔW‖/‖W_base‖, highest leverage and the error of z, from the delta's own diagnostics."""
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
