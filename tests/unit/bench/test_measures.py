"""Measures, their intervals, and the comparison of curves; pure."""

from dataclasses import replace
from math import isnan

import pytest

from factd.bench.public.asking import Outcome, as_lists, from_lists
from factd.bench.public.curves import Curve, common_level, readings, span
from factd.bench.public.measures import measure, measures, score
from factd.bench.public.plan import Entry
from factd.bench.public.records import Drawn
from factd.bench.public.report import seconds_per_edit, text_figures
from factd.bench.public.rows import MethodRow, StageClock, row_from


def outcome(kind: str, record: str, *, success: bool = True, right: bool | None = True) -> Outcome:
    return Outcome(
        kind=kind,
        record=record,
        success=success,
        accurate=success,
        magnitude=0.5 if success else -0.5,
        right=right,
        text="",
    )


def point(taken: int, left: int, records: int = 20) -> tuple[Outcome, ...]:
    """Records of which `taken` edits are right, with neighbours of which `left` in ten stay."""
    edits = [outcome("edit", str(n), right=n < taken) for n in range(records)]
    neighbours = [
        outcome("neighbourhood", str(n), success=(n + k) % 10 < left, right=None)
        for n in range(records)
        for k in range(10)
    ]
    return (*edits, *neighbours)


def test_a_share_with_one_question_per_record_has_wilsons_interval() -> None:
    found = measure({str(n): [float(n < 8)] for n in range(10)}, share=True)
    assert found is not None
    assert (found.value, found.questions, found.records) == (0.8, 10, 10)
    assert [found.low, found.high] == pytest.approx([0.4902, 0.9433], abs=1e-4)


def test_questions_of_one_record_do_not_count_as_independent() -> None:
    alike = measure({str(n): [float(n < 8)] * 10 for n in range(10)}, share=True)
    mixed = measure({str(n): [1.0] * 8 + [0.0] * 2 for n in range(10)}, share=True)
    assert alike is not None
    assert mixed is not None
    assert alike.value == mixed.value == 0.8
    assert alike.high - alike.low > 0.4
    assert mixed.high - mixed.low < 0.01


def test_a_share_of_one_still_has_an_interval() -> None:
    found = measure({str(n): [1.0] * 10 for n in range(10)}, share=True)
    assert found is not None
    assert 0.6 < found.low < 0.8
    assert found.high == 1.0


def test_without_questions_there_is_no_measure() -> None:
    assert measure({}, share=True) is None


def test_the_score_is_the_harmonic_mean_of_three_successes() -> None:
    rows = [outcome(kind, "1") for kind in ("edit", "paraphrase", "neighbourhood")]
    assert score(measures(rows)) == 1.0
    assert score(measures([rows[0], replace(rows[1], success=False), rows[2]])) == 0.0
    assert score(measures(rows[:2])) is None


def test_bystanders_are_judged_by_their_answers_alone() -> None:
    assert list(measures([outcome("bystander", "x")])) == ["bystanders right"]


def test_curves_are_read_where_they_leave_neighbours_equally_alone() -> None:
    ours = Curve("memit", (point(20, 7), point(16, 9)))
    theirs = Curve("public-memit", (point(16, 7), point(8, 9)))
    assert span(ours) == (0.7, 0.9)
    assert common_level([ours, theirs]) == pytest.approx(0.8)
    first, second = readings([ours, theirs], 0.8, "edit right", "memit")
    assert [first.value, second.value] == pytest.approx([0.9, 0.6])
    assert second.ahead == pytest.approx(0.3)
    assert second.ahead_low > 0
    assert first.low < 0.9 < first.high


def test_a_curve_is_not_read_beyond_its_ends() -> None:
    (found,) = readings([Curve("memit", (point(20, 7), point(16, 9)))], 0.95, "edit right", "memit")
    assert isnan(found.value)
    assert isnan(found.low)


def test_curves_that_share_no_level_have_no_common_one() -> None:
    low, high = (Curve("a", (point(9, 2), point(8, 3))), Curve("b", (point(9, 7), point(8, 9))))
    assert isnan(common_level([low, high]))
    assert isnan(common_level([Curve("alone", (point(9, 2),))]))


def test_a_row_survives_its_json() -> None:
    rows = point(3, 5, records=4)
    assert from_lists(as_lists(rows)) == rows
    row = MethodRow(outcomes=rows, norms={"w": 0.1}, seconds_per_edit=2.0)
    assert row_from(row.as_json()) == row


def test_perplexity_and_kl_are_means_over_tokens() -> None:
    text = {"tokens": [10.0, 30.0], "base_nll": [20.0, 60.0], "nll": [20.0, 64.0], "kl": [0.0, 4.0]}
    found = text_figures([MethodRow(outcomes=(), text=text)])
    assert found["perplexity_ratio"]["value"] == pytest.approx(2.718281828**0.1)
    assert found["kl"]["value"] == pytest.approx(0.1)
    assert text_figures([MethodRow(outcomes=())])["kl"] is None


def test_only_pieces_that_are_made_are_timed() -> None:
    clock = StageClock(lambda *_: None)
    clock("values", 3, 5)
    clock("values", 4, 5)
    clock("values", 5, 5)
    assert clock.done == {"values": 2}
    assert clock.seconds["values"] >= 0.0
    idle = StageClock(lambda *_: None)
    idle("values", 5, 5)
    assert idle.done == {"values": 0}
    assert "values" not in idle.seconds


def test_a_later_strength_takes_the_time_of_the_values_from_the_first_one() -> None:
    drawn = Drawn(seed=0, records=(), probes=(), bystanders=())
    first = MethodRow(
        outcomes=(),
        seconds={
            "value steps": 18.0,
            "values": 2.0,
            "values computed": 4.0,
            "rest of an edit": 1.0,
        },
        seconds_per_edit=6.0,
    )
    later = MethodRow(outcomes=(), seconds={"values computed": 0.0, "rest of an edit": 0.5})
    entries = [Entry(method="memit", kind="memit", value=value) for value in (1.0, 2.0)]
    made = [(entries[0], drawn, first), (entries[1], drawn, later)]
    assert seconds_per_edit(made[:1], made) == 6.0
    assert seconds_per_edit(made[1:], made) == 5.5
    assert seconds_per_edit(made[1:], made[1:]) is None
