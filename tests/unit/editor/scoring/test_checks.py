"""Every measurement against a case computed by hand, and against a model that fails it."""

import math
from dataclasses import replace

import pytest

from factd.editor.checks import Evidence, Measurement, RankingEvidence, TextEvidence
from factd.editor.plugins import load, names
from factd.editor.scoring.drift import TextScores
from factd.editor.scoring.intervals import (
    bootstrap_interval,
    harmonic_mean,
    mcnemar,
    mean_difference,
    mean_interval,
    share_difference,
    wilson_interval,
)
from factd.editor.scoring.judge import is_right
from factd.editor.scoring.score import Answer, Probe


def probe(kind: str = "edit", **more: object) -> Probe:
    fields = {
        "kind": kind,
        "language": "en",
        "prompt": "p",
        "target": "euro",
        "accepted": ("euro",),
        "contrast": "kuna",
    }
    return Probe(**{**fields, **more})  # type: ignore[arg-type]


def answer(
    text: str, target: float = 1.0, contrast: float = 2.0, *, accurate: bool = False
) -> Answer:
    right = is_right(text, ["euro"])
    return Answer(
        target_nll=target, contrast_nll=contrast, accurate=accurate, text=text, right=right
    )


def said(kind: str, before: str, after: str, live: str = "", /, **more: object) -> Evidence:
    """Answers of one kind of probe, a word each: before "kuna kuna", after "euro kuna"."""
    rows = [[answer(word) for word in words.split()] for words in (before, after, live)]
    probes = tuple(probe(kind, fact=f"f{n}", **more) for n in range(len(rows[0])))
    base, now, then = (tuple(row) for row in rows)
    return Evidence(probes=probes, before=base, after=now, live=then or None)


def of(name: str, evidence: Evidence) -> dict[tuple[str, str], Measurement]:
    return {(m.metric, m.language): m for m in load("factd.editor.checks", name).check(evidence)}


def values(name: str, evidence: Evidence) -> dict[tuple[str, str], tuple[float, float | None, int]]:
    return {key: (m.value, m.before, m.sample_size) for key, m in of(name, evidence).items()}


@pytest.mark.parametrize(
    ("check", "kind"),
    [("efficacy", "edit"), ("paraphrase", "paraphrase"), ("neighbourhood", "neighbourhood")],
)
def test_what_must_win_is_scored_as_one_computes_by_hand(check: str, kind: str) -> None:
    evidence = Evidence(
        probes=(probe(kind), probe(kind)),
        before=(answer("kuna", 3, 1), answer("kuna", 3, 1)),
        after=(answer("euro", 0.5, 2, accurate=True), answer("kuna", 2, 1)),
    )
    found = values(check, evidence)
    assert found["success", "en"] == (0.5, 0.0, 2)
    assert found["accuracy", "en"] == (0.5, 0.0, 2)
    assert found["generation", "en"] == (0.5, 0.0, 2)
    by_hand = ((math.exp(-0.5) - math.exp(-2)) + (math.exp(-2) - math.exp(-1))) / 2
    assert found["magnitude", "en"][0] == pytest.approx(by_hand)
    assert found["magnitude", "en"][1] == pytest.approx(math.exp(-3) - math.exp(-1))


@pytest.mark.parametrize(
    ("check", "kind", "metric"),
    [
        ("efficacy", "edit", "generation"),
        ("generation", "paraphrase", "right"),
        ("retention", "earlier", "generation"),
        ("portability", "alias", "alias"),
    ],
)
def test_a_share_stands_beside_the_base_and_the_live_release(
    check: str, kind: str, metric: str
) -> None:
    evidence = said(kind, "kuna kuna kuna euro", "euro euro euro kuna", "euro kuna kuna kuna")
    found = of(check, evidence)[metric, "en"]
    assert (found.value, found.before, found.live) == (0.75, 0.25, 0.25)
    assert found.to_base and (found.to_base.better, found.to_base.worse) == (3, 1)
    assert found.to_live and (found.to_live.better, found.to_live.worse) == (2, 0)
    assert found.to_live.value == pytest.approx(0.5)
    assert found.to_live.p_value == pytest.approx(0.5)  # two of two: 2 · ½²
    unedited = replace(evidence, after=evidence.before)
    assert of(check, unedited)[metric, "en"].value == 0.25


def test_a_fact_is_taken_where_half_of_its_answers_are_right() -> None:
    words = ("euro", "euro", "kuna", "kuna", "kuna", "euro")
    probes = tuple(probe(fact=f"f{n // 3}") for n in range(6))
    after = tuple(answer(word) for word in words)
    evidence = Evidence(probes=probes, before=(answer("kuna"),) * 6, after=after)
    found = values("generation", evidence)
    assert found["right", "en"] == (0.5, 0.0, 6)
    assert found["facts", "en"] == (0.5, 0.0, 2)


def test_known_facts_count_only_what_the_base_knew() -> None:
    evidence = said("known", "euro euro wrong", "Euro. lost euro", "euro euro euro")
    found = of("known_facts", evidence)
    kept = found["kept", "en"]
    assert (kept.value, kept.before, kept.sample_size) == (0.5, 1.0, 2)
    assert kept.to_live and (kept.to_live.value, kept.to_live.worse) == (-0.5, 1)
    assert found["unchanged", "en"].value == 0.5


def test_temporal_locality_asks_for_the_old_value_where_the_base_knew_it() -> None:
    evidence = said("temporal", "euro euro kuna", "euro kuna euro")
    assert values("temporal", evidence) == {("kept", "en"): (0.5, 1.0, 2)}


def test_a_consequence_counts_only_where_the_base_makes_the_hop() -> None:
    evidence = said("consequence", "kuna kuna dollar", "euro kuna euro")
    assert values("portability", evidence) == {("consequence", "en"): (0.5, 0.0, 2)}
    lost = replace(evidence, before=(answer("dollar"),) * 3)
    assert values("portability", lost) == {}


def test_transfer_asks_only_where_nothing_was_written() -> None:
    probes = (probe(written_in=("en",)), probe(written_in=("en",), language="fr"))
    evidence = Evidence(
        probes=probes, before=(answer("kuna"),) * 2, after=(answer("euro"), answer("kuna"))
    )
    assert values("transfer", evidence) == {
        ("accuracy", "en→fr"): (0.0, 0.0, 1),
        ("generation", "en→fr"): (0.0, 0.0, 1),
    }
    reached = replace(evidence, after=(answer("euro"), answer("euro", accurate=True)))
    assert values("transfer", reached)["generation", "en→fr"] == (1.0, 0.0, 1)


def test_an_answer_in_another_language_is_not_faithful() -> None:
    asked = probe(foreign=("dollar américain",))
    evidence = Evidence(
        probes=(asked, asked),
        before=(answer("euro"),) * 2,
        after=(answer("dollar américain."), answer("x")),
    )
    assert values("fidelity", evidence)["share", "en"] == (0.5, 1.0, 2)


def test_norms_are_the_deltas_own() -> None:
    evidence = Evidence(probes=(), before=(), after=(), diagnostics={"layer.0.leverage_max": 0.5})
    assert values("norms", evidence) == {("layer.0.leverage_max", "all"): (0.5, None, 1)}


TEXTS = TextScores(tokens=(10, 30), base_nll=(20.0, 60.0), nll=(21.0, 67.0), kl=(1.0, 3.0))


def test_drift_is_the_ratio_of_perplexities_and_the_kl_per_token() -> None:
    found = of(
        "drift", Evidence(probes=(), before=(), after=(), texts={"en": TextEvidence(after=TEXTS)})
    )
    ratio, kl = found["perplexity_ratio", "en"], found["kl", "en"]
    assert ratio.value == pytest.approx(math.exp(8 / 40))
    assert ratio.low <= ratio.value <= ratio.high
    assert kl.value == pytest.approx(0.1)
    assert (kl.before, kl.sample_size) == (0.0, 2)
    still = replace(TEXTS, nll=TEXTS.base_nll, kl=(0.0, 0.0))
    same = of(
        "drift", Evidence(probes=(), before=(), after=(), texts={"en": TextEvidence(after=still)})
    )
    assert same["perplexity_ratio", "en"].value == 1.0
    assert same["kl", "en"].value == 0.0


def test_drift_is_also_told_against_the_live_release() -> None:
    live = replace(TEXTS, nll=(21.0, 63.0), kl=(1.0, 2.0))
    read = {"en": TextEvidence(after=TEXTS, live=live)}
    found = of("drift", Evidence(probes=(), before=(), after=(), texts=read))
    ratio, kl = found["perplexity_ratio", "en"], found["kl", "en"]
    assert ratio.live == pytest.approx(math.exp(4 / 40))
    assert ratio.to_live is not None and ratio.live is not None
    assert ratio.to_live.value == pytest.approx(ratio.value - ratio.live)
    assert (ratio.to_live.better, ratio.to_live.worse) == (0, 1)
    assert kl.to_live is not None and kl.to_live.value == pytest.approx(1 / 40)


def test_a_text_that_is_no_number_makes_drift_none() -> None:
    broken = replace(TEXTS, nll=(math.nan, 67.0))
    evidence = Evidence(probes=(), before=(), after=(), texts={"en": TextEvidence(after=broken)})
    assert math.isnan(of("drift", evidence)["perplexity_ratio", "en"].value)


def test_rankc_of_a_pair_is_the_published_formula_before_and_after() -> None:
    order, top_swapped = ((0, 1, 2),), ((1, 0, 2),)
    ranked = {
        "en": RankingEvidence(before=order, after=order),
        "es": RankingEvidence(before=order, after=top_swapped),
    }
    found = of("rank_consistency", Evidence(probes=(), before=(), after=(), ranked=ranked))
    rankc = found["rankc", "en~es"]
    weights = [math.exp(3 - j) for j in (1, 2, 3)]  # w_j = e^(N-j) / Σ e^(N-k), N = 3
    overlaps = (0 / 1, 2 / 2, 3 / 3)
    by_hand = sum(w * o for w, o in zip(weights, overlaps, strict=True)) / sum(weights)
    assert rankc.value == pytest.approx(by_hand)
    assert rankc.before == pytest.approx(1.0)
    assert rankc.to_base is not None and rankc.to_base.value == pytest.approx(by_hand - 1)


def test_every_check_is_silent_without_probes() -> None:
    nothing = Evidence(probes=(), before=(), after=())
    assert {
        name: load("factd.editor.checks", name).check(nothing)
        for name in names("factd.editor.checks")
    } == dict.fromkeys(names("factd.editor.checks"), ())


def test_a_number_that_is_none_is_kept_as_none() -> None:
    broken = Evidence(
        probes=(probe(),),
        before=(answer("kuna"),),
        after=(answer("x", float("nan"), float("nan")),),
    )
    assert math.isnan(of("efficacy", broken)["magnitude", "en"].value)


def test_intervals_are_the_published_ones() -> None:
    low, high = wilson_interval(8, 10)
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert all(map(math.isnan, mean_interval([1.0])))
    low, high = mean_interval([1.0, 2.0, 3.0])
    assert (low + high) / 2 == pytest.approx(2.0)
    assert harmonic_mean([1.0, 0.5]) == pytest.approx(2 / 3)
    assert harmonic_mean([1.0, 0.0]) == 0.0


def test_mcnemar_is_the_binomial_test_of_the_changes() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(0, 6) == pytest.approx(2 * 0.5**6)
    assert mcnemar(5, 5) == 1.0


def test_the_interval_of_paired_shares_is_the_adjusted_wald_one() -> None:
    now, then = [True] * 8 + [False] * 2, [True] * 7 + [False, True, True]
    found = share_difference(now, then)
    up, down, n = 2 / 12, 3 / 12, 12  # (1 + 1) / (10 + 2), (2 + 1) / (10 + 2)
    half = 1.959964 * math.sqrt((up + down - (up - down) ** 2) / n)
    assert found.value == pytest.approx(-0.1)
    bounds = (up - down - half, up - down + half)
    assert (found.low, found.high) == pytest.approx(bounds, abs=1e-5)


def test_a_paired_bootstrap_sees_what_two_separate_intervals_do_not() -> None:
    then = [float(n % 10) for n in range(100)]
    now = [value + 0.1 + 0.01 * (n % 3) for n, value in enumerate(then)]
    found = mean_difference(now, then)
    assert 0.1 < found.low < found.value < found.high < 0.12
    assert mean_interval(now)[0] < mean_interval(then)[1]
    assert mean_difference(now, then) == found  # seeded
    assert all(map(math.isnan, bootstrap_interval([1.0], [1.0])))


def test_benchmark_questions_are_scored_as_one_computes_by_hand() -> None:
    for kind in ("same_subject", "locality"):
        evidence = said(kind, "euro euro peso kuna", "euro kuna peso euro")
        found = values(kind, evidence)
        assert found["kept", "en"] == (0.5, 1.0, 2)  # of the two that the base answers right
        assert found["unchanged", "en"] == (0.5, 1.0, 4)
    found = values("portability", said("portability", "kuna kuna", "euro kuna"))
    assert found == {("questions", "en"): (0.5, 0.0, 2)}


def test_a_negated_prompt_must_not_be_answered_with_the_new_object() -> None:
    evidence = Evidence(
        probes=(probe("negation"), probe("negation"), probe("negation", contrast=None)),
        before=(answer("euro", 1, 2), answer("kuna", 2, 1), answer("kuna")),
        after=(answer("kuna", 2, 1), answer("kuna", 3, 1), answer("kuna")),
    )
    assert values("negation", evidence) == {
        ("success", "en"): (0.0, 0.5, 2),
        ("avoided", "en"): (0.0, 0.5, 2),
    }
