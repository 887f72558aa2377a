"""Transfer T[s→t]: are facts answered in a language they were not written in?

The language of a measurement reads "en+es→fr": written in English and Spanish, asked in French. A
candidate shows transfer only into languages that it did not write. The whole matrix, from each
language alone, needs one solve per language ([checks] transfer, editor/exams/transfer_matrix.py).
"""

from factd.editor.checks import (
    Check,
    Evidence,
    Measurement,
    answered_right,
    is_accurate,
    measure_share,
)

KINDS = ("edit",)


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """Accuracy and generation per pair of languages; empty if every language was written."""
    asked = [
        row for row in evidence.answers_to(*KINDS) if row.probe.language not in row.probe.written_in
    ]
    pairs = sorted({("+".join(row.probe.written_in), row.probe.language) for row in asked})
    measured: list[Measurement] = []
    for source, target in pairs:
        rows = [
            r for r in asked if ("+".join(r.probe.written_in), r.probe.language) == (source, target)
        ]
        measured.append(
            measure_share("transfer", "accuracy", f"{source}→{target}", rows, is_accurate)
        )
        measured.append(
            measure_share("transfer", "generation", f"{source}→{target}", rows, answered_right)
        )
    return tuple(measured)


_: Check = check
