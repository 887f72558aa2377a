"""A search for the facts that make a candidate fail. It is pure, and it bounds how often it solves.

Facts come ranked by suspicion. Leaving out the first k of them passes from some k on, because the
more is left out, the less is wrong. That k is found by bisection. The fact at k is guilty, and the
search goes on among the facts before it. A guilty fact costs at most 1 + log2(n) solves: three
among 64 need at most 24 when the ranking knows nothing, and about ten when the ranking is good.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Passes = Callable[[frozenset[str]], bool]  # ids of facts left out -> whether the rest passes

FIRST = 4  # of the most suspect facts: tried once, before the bisection


@dataclass(frozen=True, kw_only=True)
class GuiltyFacts:
    """The result of a search."""

    guilty: tuple[str, ...]
    solves: int
    complete: bool  # without these facts the candidate passes
    evidence: Mapping[str, str] = field(default_factory=dict)  # by fact: how it was found


class OutOfSolves(Exception):
    """The search has used all solves that it may."""


@dataclass
class BlameTrials:
    """The trials of one search. No set of facts is tried twice."""

    passes: Passes
    solves: int  # at most
    tried: dict[frozenset[str], bool] = field(default_factory=dict)

    def __call__(self, left_out: frozenset[str]) -> bool:
        """Whether the candidate passes without these facts. Raises: OutOfSolves."""
        if left_out not in self.tried:
            if len(self.tried) >= self.solves:
                raise OutOfSolves
            self.tried[left_out] = self.passes(left_out)
        return self.tried[left_out]


def blame(
    ranked: Sequence[str], passes: Passes, *, solves: int, direct: Sequence[str] = ()
) -> GuiltyFacts:
    """The facts without which a candidate passes.

    ranked: the facts that may be guilty, the most suspect first. direct: facts that were measured
    to be wrong in themselves; they are guilty without a trial of their own.
    """
    trial = BlameTrials(passes, solves)
    guilty = list(dict.fromkeys(direct))
    evidence = dict.fromkeys(guilty, "measured on the fact itself")
    rest = [fact for fact in ranked if fact not in guilty]
    try:
        while rest and not (guilty and trial(frozenset(guilty))):
            place = _next_guilty(trial, guilty, rest)
            if place is None:
                return GuiltyFacts(guilty=tuple(guilty), solves=len(trial.tried), complete=False)
            guilty.append(rest[place])
            evidence[rest[place]] = (
                f"without the {len(guilty)} facts found so far and {place} others the gates pass, "
                "with it they do not"
            )
            rest = rest[:place]
        complete = bool(guilty) and trial(frozenset(guilty))
        if complete:
            guilty = _only_needed(trial, guilty, len(direct))
    except OutOfSolves:
        complete = False
    kept = {fact: text for fact, text in evidence.items() if fact in guilty}
    return GuiltyFacts(
        guilty=tuple(guilty), solves=len(trial.tried), complete=complete, evidence=kept
    )


def _next_guilty(trial: BlameTrials, guilty: Sequence[str], rest: Sequence[str]) -> int | None:
    """The place of the next guilty fact in `rest`, or None if leaving out all of `rest` fails too.

    It is the last fact of the shortest beginning of `rest` that must be left out as well. The
    search tries the front first, where a good ranking has the guilty fact, then bisects.
    """

    def passes_without(count: int) -> bool:
        return trial(frozenset((*guilty, *rest[:count])))

    low, high = 0, len(rest)  # leaving out `low` facts is not enough
    if high > FIRST and not trial.tried:
        low, high = (0, FIRST) if passes_without(FIRST) else (FIRST, high)
    if high == len(rest) and not _known_to_pass(trial, guilty, rest) and not passes_without(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if passes_without(middle):
            high = middle
        else:
            low = middle
    return high - 1


def _known_to_pass(trial: BlameTrials, guilty: Sequence[str], rest: Sequence[str]) -> bool:
    """Whether a trial that passed left out no more than `guilty` and `rest`."""
    everything = {*guilty, *rest}
    return any(passed and left_out <= everything for left_out, passed in trial.tried.items())


def _only_needed(trial: BlameTrials, guilty: Sequence[str], direct: int) -> list[str]:
    """The guilty facts that must be left out for the gates to pass.

    A fact with which the gates pass all the same is acquitted, as long as there are solves left.
    The first `direct` facts are not tried.
    """
    kept = list(guilty)
    for fact in list(guilty)[direct:]:
        others = frozenset(f for f in kept if f != fact)
        if len(kept) < 2 or len(trial.tried) >= trial.solves:
            break
        if trial(others):
            kept.remove(fact)
    return kept
