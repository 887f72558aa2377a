"""RankC: do two languages rank the candidates for an answer alike? (arXiv:2310.10378)

The language of a measurement reads "en~es".
"""

from itertools import combinations

from factd.editor.checks import Check, Evidence, Measurement, RankingEvidence, measure_numbers
from factd.editor.scoring.rankings import rank_consistencies

KINDS: tuple[str, ...] = ()  # measures the exam's ranking questions, not its probes


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """The mean RankC over the same questions, 0 to 1, per pair of languages."""
    return tuple(
        pair_consistency(f"{one}~{two}", evidence.ranked[one], evidence.ranked[two])
        for one, two in combinations(sorted(evidence.ranked), 2)
    )


def pair_consistency(language: str, one: RankingEvidence, two: RankingEvidence) -> Measurement:
    """RankC of two languages. language: the name of the pair."""
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
