"""RankC: do two languages rank the candidates for an answer alike? (arXiv:2310.10378, EDITING §5)"""

from collections.abc import Mapping, Sequence
from math import exp
from statistics import fmean

from factd.editor.models.model import EditableModel
from factd.editor.scoring.score import forced_scores

Question = tuple[
    str, Sequence[str]
]  # a prompt, and the candidates in its language, always in the same order


def rank_candidates(model: EditableModel, questions: Sequence[Question]) -> list[list[int]]:
    """For every question the numbers of its candidates, likeliest (lowest nll per token) first."""
    pairs = [(prompt, candidate) for prompt, held in questions for candidate in held]
    scores = iter([nll for nll, _ in forced_scores(model, pairs)])
    found = []
    for _, held in questions:
        nll = [next(scores) for _ in held]
        found.append(sorted(range(len(held)), key=lambda i: (nll[i], i)))
    return found


def rank_consistency(one: Sequence[Sequence[int]], two: Sequence[Sequence[int]]) -> float:
    """Mean over questions of Σ_j w_j · overlap of the top j / j, w_j = e^(N-j) / Σ_k e^(N-k); 1: the same rankings."""
    return fmean(rank_consistencies(one, two))


def rank_consistencies(one: Sequence[Sequence[int]], two: Sequence[Sequence[int]]) -> list[float]:
    """RankC of every question."""
    return [_consistency(a, b) for a, b in zip(one, two, strict=True)]


def _consistency(one: Sequence[int], two: Sequence[int]) -> float:
    weights = [exp(-j) for j in range(1, len(one) + 1)]  # e^N cancels
    overlaps = [len(set(one[:j]) & set(two[:j])) / j for j in range(1, len(one) + 1)]
    return sum(w * o for w, o in zip(weights, overlaps, strict=True)) / sum(weights)


def consistency_by_pair(
    ranked: Mapping[str, Sequence[Sequence[int]]],
) -> dict[tuple[str, str], float]:
    """RankC of every pair of languages."""
    names = sorted(ranked)
    return {
        (a, b): rank_consistency(ranked[a], ranked[b])
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    }
