"""The honest benchmark of the reference world: intervals, sets and gates."""

import pytest

from factd.bench.quality import honest
from factd.reference import paths
from factd.reference.world import feed


def test_the_interval_treats_the_questions_about_one_fact_as_one() -> None:
    facts = [f"fact {n // 10}" for n in range(100)]
    hits = [n // 10 < 5 for n in range(100)]  # a fact is answered always or never
    low, high = honest.interval(facts, hits)
    assert low < 0.5 < high
    assert high - low > 0.4  # ten facts; a hundred independent questions would give 0.2


@pytest.mark.parametrize(("hit", "bound"), [(True, 0), (False, 1)])
def test_an_interval_is_wide_where_all_facts_are_alike(hit: bool, bound: int) -> None:
    interval = honest.interval(["a", "a", "b", "b"], [hit] * 4)
    assert 0.2 < abs(interval[bound] - hit) < 0.9


def test_more_than_half_of_the_new_objects_of_the_demo_are_the_euro() -> None:
    objects = [claim.object.id for claim in feed()]
    assert (len(objects), objects.count(honest.EURO), len(set(objects))) == (69, 39, 26)


def test_the_gates_of_the_demo_are_looser_than_the_defaults() -> None:
    found = {row["gate"]: row for row in honest.loosened_gates()}
    assert found["known_kept"] == {"gate": "known_kept", "demo": 0.9, "default": 0.95}
    assert found["fact_right"] == {"gate": "fact_right", "demo": 0.0, "default": 0.25}


def test_the_parameters_are_those_of_the_file() -> None:
    size = (paths.MODEL / "model.safetensors").stat().st_size
    assert 2 * honest.parameters() == pytest.approx(size, rel=0.01)  # bfloat16


def test_rows_lie_under_their_names() -> None:
    rows = [{"set": "feed", "wordings": "edit", "share": "kept", "right": 0.5}]
    assert honest.nested(rows, "wordings", "share") == {"edit": {"kept": {"right": 0.5}}}
