"""RankC: do two languages rank the candidates for an answer alike?

Qi, Fernández and Bisazza, arXiv:2310.10378; docs/explanation/editing.md §5.
"""

from collections.abc import Mapping, Sequence
from math import exp
from statistics import fmean

from factd.editor.models.model import EditableModel
from factd.editor.scoring.score import forced_scores

# a prompt, and the candidates in its language, in the same order in every language
Question = tuple[str, Sequence[str]]


def rank_candidates(model: EditableModel, questions: Sequence[Question]) -> list[list[int]]:
    """For every question the indices of its candidates, likeliest (lowest nll per token) first."""
    pairs = [(prompt, candidate) for prompt, candidates in questions for candidate in candidates]
    scores = iter([nll for nll, _ in forced_scores(model, pairs)])
    rankings = []
    for _, candidates in questions:
        nll = [next(scores) for _ in candidates]
        rankings.append(sorted(range(len(candidates)), key=lambda i: (nll[i], i)))
    return rankings


def rank_consistency(one: Sequence[Sequence[int]], two: Sequence[Sequence[int]]) -> float:
    """RankC of two languages, 0 to 1; 1 means the same rankings.

    The mean over questions of Σ_j w_j · |top j of one ∩ top j of two| / j, with
    w_j = e^(N-j) / Σ_k e^(N-k) and N candidates. arXiv:2310.10378.
    """
    return fmean(rank_consistencies(one, two))


def rank_consistencies(one: Sequence[Sequence[int]], two: Sequence[Sequence[int]]) -> list[float]:
    """RankC of every question, 0 to 1."""
    return [_consistency(a, b) for a, b in zip(one, two, strict=True)]


def _consistency(one: Sequence[int], two: Sequence[int]) -> float:
    weights = [exp(-j) for j in range(1, len(one) + 1)]  # e^N cancels
    overlaps = [len(set(one[:j]) & set(two[:j])) / j for j in range(1, len(one) + 1)]
    return sum(w * o for w, o in zip(weights, overlaps, strict=True)) / sum(weights)


def consistency_by_pair(
    ranked: Mapping[str, Sequence[Sequence[int]]],
) -> dict[tuple[str, str], float]:
    """RankC of every pair of languages, 0 to 1."""
    names = sorted(ranked)
    return {
        (a, b): rank_consistency(ranked[a], ranked[b])
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    }
