"""The verdicts of the gates on numbers, on differences, and on too few probes."""

from typing import Any

import pytest

from factd.daemon.config.tables import ChecksTable
from factd.daemon.gates.configured import gates_from
from factd.daemon.gates.measures import MEASURES, GatesTable
from factd.daemon.gates.policy import Decision, GateVerdict, judge

WRITE, SERVED = ("en",), ("en", "es")


def measurement(
    check: str, metric: str, language: str, value: float, n: int = 100
) -> dict[str, Any]:
    return {
        "check": check,
        "metric": metric,
        "language": language,
        "value": value,
        "low": value - 0.05,
        "high": value + 0.05,
        "sample_size": n,
        "to_base": None,
        "to_live": None,
    }


def lost(row: dict[str, Any], value: float, *, half: float = 0.01) -> dict[str, Any]:
    """A measurement that is lower by `value` than the live release's."""
    return row | {"to_live": {"value": -value, "low": -value - half, "high": -value + half}}


def good() -> list[dict[str, Any]]:
    return [
        measurement("efficacy", "generation", "en", 0.97),
        measurement("paraphrase", "generation", "en", 0.9),
        *(lost(measurement("known_facts", "kept", k, 0.98), 0.0) for k in SERVED),
        *(lost(measurement("drift", "perplexity_ratio", k, 1.01, 30), 0.0) for k in SERVED),
        *(measurement("drift", "kl", k, 0.02, 30) for k in SERVED),
    ]


def fact(right: int, *, new: bool = True, written: bool = True) -> dict[str, Any]:
    return {
        "fact": "f1",
        "language": "en",
        "written": written,
        "new": new,
        "asked": 5,
        "right": right,
    }


def decide(
    rows: list[dict[str, Any]], facts: tuple[dict[str, Any], ...] = (fact(5),), **gates: Any
) -> Decision:
    table = GatesTable(**gates)
    report = {"measurements": rows, "facts": list(facts)}
    return judge(report, gates_from(table, write=WRITE, served=SERVED), fact_right=table.fact_right)


def changed(check: str, metric: str, language: str, **values: Any) -> list[dict[str, Any]]:
    wanted = (check, metric, language)
    return [
        row | values if (row["check"], row["metric"], row["language"]) == wanted else row
        for row in good()
    ]


def test_a_candidate_that_passes_every_gate_is_accepted() -> None:
    found = decide(good())
    assert found.accepted and found.verdict is GateVerdict.PASS
    assert {finding.verdict for finding in found.findings} == {GateVerdict.PASS}


def test_a_candidate_whose_known_facts_suffer_is_refused_with_the_numbers() -> None:
    found = decide(changed("known_facts", "kept", "es", value=0.8))
    assert found.verdict is GateVerdict.FAIL
    assert found.reasons == ("known_facts kept in es is 0.800, the gate asks for at least 0.95",)


def test_a_loss_against_the_live_release_is_refused_even_where_the_value_is_good() -> None:
    perhaps = lost({}, 0.02, half=0.2)
    assert "may be 0.220" in decide(changed("known_facts", "kept", "en", **perhaps)).reasons[0]
    reasons = decide(changed("known_facts", "kept", "en", **lost({}, 0.08))).reasons
    assert reasons == (
        "known_facts kept in en, lost to the live release, is 0.080, the gate asks for at most 0.06",
    )


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"sample_size": 12}, "has 12 probes, 30 are needed"),
        ({"value": 0.96, "low": 0.80}, "may be 0.800; 0.88 must be sure"),
    ],
)
def test_too_few_probes_decide_nothing(values: dict[str, Any], reason: str) -> None:
    found = decide(changed("known_facts", "kept", "es", **values))
    assert found.verdict is GateVerdict.INCONCLUSIVE and not found.accepted
    assert reason in found.reasons[0]


def test_a_gate_without_a_measurement_is_inconclusive_unless_it_has_no_facts() -> None:
    without = [row for row in good() if row["check"] != "efficacy"]
    assert "was not measured" in decide(without).reasons[0]
    withdrawal = (fact(5, new=False),)
    retained = lost(measurement("retention", "generation", "en", 0.95), 0.0)
    assert decide([*without, retained], withdrawal).accepted
    assert "retention" in decide(without, withdrawal).reasons[0]


def test_a_value_that_is_not_a_number_is_refused() -> None:
    for value in (None, float("nan")):
        rows = [*good(), measurement("norms", "x", "all", 1.0) | {"value": value}]
        assert decide(rows).reasons == ("norms x is not a number (all)",)


def test_drift_is_refused_above_its_bound() -> None:
    reasons = decide(changed("drift", "perplexity_ratio", "en", value=1.3, high=1.4)).reasons
    assert reasons == ("drift perplexity_ratio in en is 1.300, the gate asks for at most 1.1",)


def test_a_new_fact_that_is_not_answered_is_named() -> None:
    found = decide(good(), (fact(0),))
    assert found.failed[0].facts == ("f1",)
    assert found.reasons == ("1 of 1 new facts are not answered in en (f1 0 of 5)",)
    assert decide(good(), (fact(0, written=False),)).accepted
    assert decide(good(), (fact(0),), fact_right=0.0).accepted


def test_a_language_may_have_bounds_of_its_own() -> None:
    rows = changed("known_facts", "kept", "es", value=0.8, low=0.75)
    assert decide(rows, languages={"es": {"known_kept": 0.7}}).accepted
    assert not decide(rows, languages={"en": {"known_kept": 0.7}}).accepted


def test_a_pattern_judges_every_layer() -> None:
    rows = [*good(), measurement("norms", "layer.3.leverage_max", "all", 0.9995, 1)]
    assert "layer.3.leverage_max" in decide(rows).reasons[0]
    assert decide(rows, leverage=False).accepted


def test_a_report_of_an_older_program_is_judged_by_what_it_has() -> None:
    old = [{k: v for k, v in row.items() if not k.startswith("to_")} for row in good()]
    table = GatesTable.model_validate({"known_lost": False, "perplexity_grown": False})
    gates = gates_from(table, write=WRITE, served=SERVED)
    assert judge({"measurements": old}, gates).accepted
    assert "no comparison with the live release" in decide(old).reasons[0]


def test_a_gate_is_a_number_false_or_a_table() -> None:
    known_kept = {"least": 0.9, "surely": 0.8, "sample": 50}
    table = GatesTable.model_validate(
        {"known_kept": known_kept, "kl": False, "edit_generation": 0.8}
    )
    assert (table.known_kept.bound, table.known_kept.surely, table.known_kept.sample) == (
        0.9,
        0.8,
        50,
    )
    names = {gate.name for gate in gates_from(table, write=WRITE, served=SERVED)}
    assert "kl" not in names and "edit_generation" in names
    for wrong in (
        {"known_kept": 1.5},
        {"known_kept": {"least": 0.9, "most": 0.1}},
        {"known_kept": "high"},
        {"languages": {"en": {"magic": 0.1}}},
    ):
        with pytest.raises(ValueError):
            GatesTable(**wrong)


def test_every_gate_has_a_setting_and_the_reverse() -> None:
    assert set(MEASURES) == set(GatesTable.model_fields) - {
        "least_sample",
        "fact_right",
        "languages",
    }
    assert ChecksTable().known_sample >= GatesTable().known_kept.sample
