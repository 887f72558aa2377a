"""The search for the facts that make a candidate fail finds them, within its bound on solves."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factd.daemon.editing.blame import blame


def world(bad: set[str]) -> tuple[Callable[[frozenset[str]], bool], list[frozenset[str]]]:
    calls: list[frozenset[str]] = []

    def passes(left_out: frozenset[str]) -> bool:
        calls.append(left_out)
        return bad <= left_out

    return passes, calls


FACTS = [f"f{n}" for n in range(64)]


@pytest.mark.parametrize("seed", range(50))
def test_three_bad_facts_of_64_are_found_in_24_solves_even_where_the_ranking_knows_nothing(
    seed: int,
) -> None:
    rng = random.Random(seed)
    bad, ranked = set(rng.sample(FACTS, 3)), rng.sample(FACTS, 64)
    passes, calls = world(bad)
    found = blame(ranked, passes, solves=24)
    assert set(found.guilty) == bad and found.complete
    assert len(calls) == found.solves <= 24
    assert set(found.evidence) == bad


def test_a_good_ranking_needs_few_solves() -> None:
    passes, calls = world({"f0", "f1", "f2"})
    assert set(blame(FACTS, passes, solves=24).guilty) == {"f0", "f1", "f2"}
    assert len(calls) <= 7


def test_what_speaks_against_a_fact_itself_needs_one_solve() -> None:
    passes, calls = world({"f40", "f50"})
    found = blame(FACTS, passes, solves=24, direct=["f40", "f50"])
    assert (set(found.guilty), len(calls)) == ({"f40", "f50"}, 1)


def test_a_fact_that_may_come_back_is_let_go() -> None:
    def passes(left_out: frozenset[str]) -> bool:
        return "f9" in left_out or {"f1", "f2"} <= left_out

    found = blame(["f1", "f2", *FACTS[3:]], passes, solves=24)
    assert found.complete
    assert set(found.guilty) in ({"f9"}, {"f1", "f2"})


def test_where_nothing_helps_nobody_is_guilty() -> None:
    found = blame(FACTS, lambda _: False, solves=24)
    assert (found.guilty, found.complete) == ((), False)
    assert found.solves <= 2


def test_the_bound_on_solves_is_kept() -> None:
    passes, calls = world(set(FACTS[::2]))
    found = blame(FACTS, passes, solves=10)
    assert len(calls) <= 10 and not found.complete


@settings(max_examples=200, deadline=None)
@given(
    bad=st.sets(st.sampled_from(FACTS[:20]), min_size=1, max_size=4),
    ranked=st.permutations(FACTS[:20]),
    direct=st.lists(st.sampled_from(FACTS[:20]), max_size=2),
)
def test_what_is_blamed_is_enough_and_each_was_needed_or_known(
    bad: set[str], ranked: list[str], direct: list[str]
) -> None:
    passes, _ = world(bad)
    found = blame(ranked, passes, solves=200, direct=direct)
    if found.complete:
        assert bad <= set(found.guilty) <= bad | set(direct)
