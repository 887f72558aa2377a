"""The policy: pure, explainable, and it refuses what it cannot know."""

from typing import Any

from daemon.policy import Gate, judge

GATES = (
    Gate(check="efficacy", metric="generation", least=0.9, languages=("en", "fr")),
    Gate(check="known_facts", metric="kept", least=0.95, languages=("en",)),
)


def measurement(
    check: str, metric: str, language: str, value: float | None, size: int = 50
) -> dict[str, Any]:
    return {
        "check": check,
        "metric": metric,
        "language": language,
        "value": value,
        "sample_size": size,
    }


def good() -> list[dict[str, Any]]:
    return [
        measurement("efficacy", "generation", "en", 0.95),
        measurement("efficacy", "generation", "fr", 0.90),
        measurement("known_facts", "kept", "en", 0.97),
    ]


def test_a_candidate_that_passes_every_gate_is_accepted() -> None:
    assert judge(good(), GATES, least_sample=10).accepted


def test_a_candidate_whose_known_facts_suffer_is_refused_with_the_numbers() -> None:
    rows = good()
    rows[2]["value"] = 0.90
    decision = judge(rows, GATES, least_sample=10)
    assert not decision.accepted
    assert decision.reasons == ("known_facts kept in en is 0.900, the gate asks for 0.95",)


def test_one_language_is_enough_to_refuse() -> None:
    rows = good()
    rows[1]["value"] = 0.5
    assert judge(rows, GATES, least_sample=10).reasons == (
        "efficacy generation in fr is 0.500, the gate asks for 0.90",
    )


def test_too_few_probes_decide_nothing() -> None:
    rows = good()
    rows[0]["sample_size"] = 2
    assert "INCONCLUSIVE" in judge(rows, GATES, least_sample=10).reasons[0]
    assert "INCONCLUSIVE" in judge(rows[1:], GATES, least_sample=10).reasons[0]


def test_a_value_that_is_no_number_is_refused() -> None:
    for value in (None, float("nan")):
        rows = [*good(), measurement("norms", "x", "all", value)]
        assert judge(rows, GATES, least_sample=10).reasons == ("norms x is no number (all)",)
