"""Transfer: facts written in some languages, asked in one they were not written in. The language reads "en+es→fr"."""

from editor.checks import Check, Evidence, Measurement, share


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """Accuracy and generation per pair; nothing where every asked language was written."""
    asked = [row for row in evidence.of("edit") if row.probe.language not in row.probe.written_in]
    pairs = {("+".join(row.probe.written_in), row.probe.language) for row in asked}
    found: list[Measurement] = []
    for source, target in sorted(pairs):
        rows = [
            r for r in asked if ("+".join(r.probe.written_in), r.probe.language) == (source, target)
        ]
        name = f"{source}→{target}"
        hits = [r.after.accurate for r in rows], [r.before.accurate for r in rows]
        found.append(share("transfer", "accuracy", name, *hits))
        found.append(
            share(
                "transfer",
                "generation",
                name,
                [r.after.right for r in rows],
                [r.before.right for r in rows],
            )
        )
    return tuple(found)


_: Check = check
