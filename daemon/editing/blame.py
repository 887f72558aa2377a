"""Which facts make a candidate fail, pure: a search over what is left out, with a bound on how often it solves.

Facts come ranked by suspicion. Leaving out the first k of them passes from some k on (more is left out, less is wrong); that k
is found by bisection, the fact at k is guilty, and the search goes on among those before it. A culprit costs at most
1 + log2(n) solves: three among 64 need at most 24 when the ranking knows nothing, and about ten when it is good.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Passes = Callable[[frozenset[str]], bool]  # facts that are left out -> what is left passes


@dataclass(frozen=True, kw_only=True)
class Blamed:
    """What a search found."""

    guilty: tuple[str, ...]
    solves: int
    complete: bool  # without them the candidate passes
    evidence: Mapping[str, str] = field(default_factory=dict)  # by fact, how it was found


class OutOfSolves(Exception):
    """The bound was reached."""


@dataclass
class Search:
    """The trials of one search, each made once."""

    passes: Passes
    solves: int
    tried: dict[frozenset[str], bool] = field(default_factory=dict)

    def __call__(self, left_out: frozenset[str]) -> bool:
        """Whether what is left passes. Raises: OutOfSolves."""
        if left_out not in self.tried:
            if len(self.tried) >= self.solves:
                raise OutOfSolves
            self.tried[left_out] = self.passes(left_out)
        return self.tried[left_out]


def blame(
    ranked: Sequence[str], passes: Passes, *, solves: int, direct: Sequence[str] = ()
) -> Blamed:
    """The facts without which a candidate passes.

    ranked: the facts that may be guilty, the most suspect first. direct: those that something else speaks against already;
    they are guilty without a trial of their own.
    """
    trial = Search(passes, solves)
    guilty = list(dict.fromkeys(direct))
    evidence = dict.fromkeys(guilty, "measured on the fact itself")
    rest = [fact for fact in ranked if fact not in guilty]
    try:
        while rest and not (guilty and trial(frozenset(guilty))):
            found = _next(trial, guilty, rest)
            if found is None:
                return Blamed(guilty=tuple(guilty), solves=len(trial.tried), complete=False)
            guilty.append(rest[found])
            evidence[rest[found]] = (
                f"without the {len(guilty)} facts found so far and {found} others the gates pass, with it they do not"
            )
            rest = rest[:found]
        complete = bool(guilty) and trial(frozenset(guilty))
        if complete:
            guilty = _needed(trial, guilty, len(direct))
    except OutOfSolves:
        complete = False
    kept = {fact: text for fact, text in evidence.items() if fact in guilty}
    return Blamed(guilty=tuple(guilty), solves=len(trial.tried), complete=complete, evidence=kept)


def _next(trial: Search, guilty: Sequence[str], rest: Sequence[str]) -> int | None:
    """The place of the next culprit: the last of the shortest beginning of `rest` that must be left out too; None: none helps.

    Begins at the front, where a good ranking has it; the rest is bisection.
    """

    def enough(count: int) -> bool:
        return trial(frozenset((*guilty, *rest[:count])))

    low, high = 0, len(rest)  # low does not suffice
    if high > FIRST and not trial.tried:
        low, high = (0, FIRST) if enough(FIRST) else (FIRST, high)
    if high == len(rest) and not _tried_enough(trial, guilty, rest) and not enough(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle
    return high - 1


FIRST = 4  # of the most suspect: tried before the halves, once


def _tried_enough(trial: Search, guilty: Sequence[str], rest: Sequence[str]) -> bool:
    """Leaving out all of the rest, or more, is known to pass."""
    everything = {*guilty, *rest}
    return any(passed and left_out <= everything for left_out, passed in trial.tried.items())


def _needed(trial: Search, guilty: Sequence[str], direct: int) -> list[str]:
    """Those of the guilty without whose absence the gates fail; one that may come back is let go. Solves permitting."""
    kept = list(guilty)
    for fact in list(guilty)[direct:]:
        others = frozenset(f for f in kept if f != fact)
        if len(kept) < 2 or len(trial.tried) >= trial.solves:
            break
        if trial(others):
            kept.remove(fact)
    return kept
