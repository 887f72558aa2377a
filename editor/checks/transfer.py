"""Transfer T[s→t]: facts written in some languages, asked in one they were not written in. The language reads "en+es→fr".

Of a candidate only what it did not write can be asked; the whole matrix, from one language alone each, is made by solving the
facts once per language ([checks] transfer, editor/exams/transfer_matrix.py).
"""

from factd.editor.checks import (
    Check,
    Evidence,
    Measurement,
    answered_right,
    is_accurate,
    measure_share,
)


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """Accuracy and generation per pair; nothing where every asked language was written."""
    asked = [
        row for row in evidence.answers_to("edit") if row.probe.language not in row.probe.written_in
    ]
    pairs = sorted({("+".join(row.probe.written_in), row.probe.language) for row in asked})
    found: list[Measurement] = []
    for source, target in pairs:
        rows = [
            r for r in asked if ("+".join(r.probe.written_in), r.probe.language) == (source, target)
        ]
        found.append(measure_share("transfer", "accuracy", f"{source}→{target}", rows, is_accurate))
        found.append(
            measure_share("transfer", "generation", f"{source}→{target}", rows, answered_right)
        )
    return tuple(found)


_: Check = check
