"""RankC: do two languages rank the candidates for an answer alike, before and after? (arXiv:2310.10378)

The language reads "en~es".
"""

from itertools import combinations

from factd.editor.checks import Check, Evidence, Measurement, RankingEvidence, measure_numbers
from factd.editor.scoring.rankings import rank_consistencies


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """The mean over the same questions, per pair of languages."""
    return tuple(
        pair_consistency(f"{one}~{two}", evidence.ranked[one], evidence.ranked[two])
        for one, two in combinations(sorted(evidence.ranked), 2)
    )


def pair_consistency(language: str, one: RankingEvidence, two: RankingEvidence) -> Measurement:
    """RankC of two languages."""
    live = rank_consistencies(one.live, two.live) if one.live and two.live else []
    return measure_numbers(
        "rank_consistency",
        "rankc",
        language,
        rank_consistencies(one.after, two.after),
        rank_consistencies(one.before, two.before),
        live,
    )


_: Check = check
