"""RankC: do two languages rank the candidates for an answer alike, before and after? (arXiv:2310.10378)

The language reads "en~es".
"""

from itertools import combinations

from factd.editor.checks import Check, Evidence, Measurement, Ranked, of_numbers
from factd.editor.scoring.rankings import consistencies


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """The mean over the same questions, per pair of languages."""
    return tuple(
        pair(f"{one}~{two}", evidence.ranked[one], evidence.ranked[two])
        for one, two in combinations(sorted(evidence.ranked), 2)
    )


def pair(language: str, one: Ranked, two: Ranked) -> Measurement:
    """RankC of two languages."""
    live = consistencies(one.live, two.live) if one.live and two.live else []
    return of_numbers(
        "rank_consistency",
        "rankc",
        language,
        consistencies(one.after, two.after),
        consistencies(one.before, two.before),
        live,
    )


_: Check = check
