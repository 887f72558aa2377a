"""The facts that make a batch fail are set aside with their evidence; the others are published."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from factd.daemon.app import App, open_app
from factd.daemon.editing import candidates
from factd.daemon.prompts import edits
from factd.editor.files.folders import write_folder
from factd.editor.methods._write import templates_for
from factd.editor.values.cache import folder_of, values_for
from factd.store import queries
from support.terminal import FEED, KNOWN, Operator, update
from support.world import jsonl


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    yield Operator(tmp_path)


def app(operator: Operator) -> App:
    return open_app(operator.folder / "factd.toml")


def longer(operator: Operator, subject: str, factor: float) -> None:
    """Make the kept value of one fact longer, as if it had been computed wrongly."""
    made = app(operator)
    with made.ledger.begin() as session:
        facts = queries.facts.candidate_set(session)
        before = queries.facts.base_counterparts(session, facts)
    (fact,) = [f for f in facts if f.subject.id == subject]
    batch = edits.edit_batch([fact], before, made.prompts)
    model, settings = made.workbench.model(), made.workbench.method_settings()
    values = settings.values(templates_for(model, batch, settings))
    z = values_for(model, batch, values, made.workbench.workspace) * factor
    write_folder(
        folder_of(model, batch.edits, values, made.workbench.workspace),
        lambda part: save_file({"z": z.contiguous()}, part / "values.safetensors"),
        {},
    )
    made.ledger.store.close()


def set_gates(operator: Operator, lines: str) -> None:
    file = operator.folder / "factd.toml"
    text = file.read_text()
    for line in lines.splitlines():
        name = line.split(" = ")[0]
        text = "\n".join(line if row.startswith(f"{name} = ") else row for row in text.splitlines())
    file.write_text(text)


def test_a_fact_with_an_absurd_strength_is_set_aside_and_the_other_goes_on(
    operator: Operator,
) -> None:
    set_gates(operator, "value_reach = 1.01")
    operator.ingest(FEED)
    longer(operator, "Zoeshost", 50.0)
    made = operator("edit", "--publish")
    (aside,) = made["set_aside"]
    assert made["accepted"] and made["facts"] == 1
    assert made["rejected_on_the_way"] == [1] and made["blame_solves"] <= 2
    assert aside["evidence"]["value_reach"] > 10
    (fact,) = operator("facts", "list", "--status", "rejected")
    assert fact["subject"]["id"] == "Zoeshost"
    assert operator("quarantine", "list")[0]["fact"] == fact["id"]
    (shown,) = operator("quarantine", "show", fact["id"][:8])
    assert "times as far from the model's own as the settings allow" in shown["reason"]
    assert operator("facts", "explain", fact["id"])["set_aside"] == [shown]
    text = operator.invoke("quarantine", "show", fact["id"]).stdout
    assert "value_reach" in text and "candidate 1" in text
    page = (operator.folder / "state" / "candidates" / "1" / "report.html").read_text()
    assert "Zoeshost" in page and "value_reach" in page


def test_a_value_that_is_not_a_number_stops_its_fact_only(operator: Operator) -> None:
    operator.ingest(FEED)
    longer(operator, "Zoeshost", float("nan"))
    made = operator("edit")
    assert made["accepted"] and made["facts"] == 1
    assert "cannot be written" in made["set_aside"][0]["reason"]
    lifted = operator("facts", "lift", made["set_aside"][0]["fact"])
    assert lifted[0]["status"] == "pending"


def test_facts_with_contradicting_names_are_set_aside_before_a_solve(operator: Operator) -> None:
    twin = update("Zoeshost", "Peru", "2020-01-01")
    twin["subject"]["id"] = "Zoeshost-2"
    spam = update("Gargle Wilhal", "Chile. Visit our site for more", "2020-01-01")
    operator.ingest([*FEED, twin, spam])
    made = operator("edit")
    reasons = sorted(one["reason"] for one in made["set_aside"])
    assert made["accepted"] and made["facts"] == 1
    assert [r.split()[0] for r in reasons] == ["contradicts", "contradicts", "its"]
    approved = operator("facts", "approve", made["set_aside"][-1]["fact"])
    assert approved[0]["status"] == "pending"


def test_if_every_fact_is_set_aside_nothing_is_written(operator: Operator) -> None:
    operator.ingest([update("Zoeshost", "http://spam.example", "2020-01-01")])
    assert "1 new ones were set aside" in operator.refused("edit")
    assert operator("status")["live"]["number"] == 0


def test_a_batch_without_a_guilty_fact_is_refused_as_a_whole(operator: Operator) -> None:
    set_gates(operator, "edit_generation = 1.0")
    text = (operator.folder / "factd.toml").read_text()
    (operator.folder / "factd.toml").write_text(
        text.replace("v_num_grad_steps = 20", "v_num_grad_steps = 1")
    )
    operator.ingest(FEED)
    assert "efficacy generation" in operator.refused("edit")
    assert operator("quarantine", "list") == []
    assert {f["status"] for f in operator("facts", "list") if not f["known"]} == {"pending"}


def test_old_reports_are_judged_again_with_other_gates(operator: Operator) -> None:
    operator.ingest(FEED)
    assert operator("edit")["accepted"]
    (row,) = operator("policy", "test", "--set", "weight_norm = 0.001")
    assert (row["was"], row["now"], row["changed"]) == ("accepted", "fail", True)
    assert "weight_norm_ratio" in row["reasons"][0]
    (row,) = operator("policy", "test")
    assert not row["changed"]
    gates = operator.folder / "gates.toml"
    gates.write_text("[gates]\nknown_kept = {least = 0.1, sample = 5000}\n")
    (row,) = operator("policy", "test", "--gates", str(gates))
    assert row["now"] == "inconclusive"
    assert "gates.magic" in operator.refused("policy", "test", "--set", "magic = 1")
    assert "is not TOML" in operator.refused("policy", "test", "--set", "known_kept")
    assert "fact_right" in operator.invoke("policy", "show").stdout


def test_the_probe_set_is_kept_as_versions(operator: Operator) -> None:
    operator.ingest(FEED)
    assert operator("edit")["accepted"]
    (first,) = operator("probes", "list")
    assert first["version"] == 1 and first["counts"]["known en"] == len(KNOWN) - len(FEED)
    again = operator("probes", "build", "--why", "more facts")
    assert (again["version"], again["why"]) == (2, "more facts")
    assert again["digest"] == first["digest"]  # the same world, the same questions
    asked = operator("probes", "show", "2")["probes"]
    assert {p["kind"] for p in asked} == {"known"}
    assert "no probe set 9" in operator.refused("probes", "show", "9")
    (operator.folder / "state" / "probes" / "2" / "probes.json").write_text("{}")
    assert "SHA-256 differs" in operator.refused("probes", "show", "2")


def test_a_report_is_one_html_file(operator: Operator, tmp_path: Path) -> None:
    operator.ingest(FEED)
    operator("edit", "--publish")
    out = tmp_path / "report.html"
    report = operator("check", "1", "--html", str(out))
    assert report["decision"]["accepted"]
    assert {m["check"] for m in report["measurements"]} >= {"efficacy", "norms", "drift"}
    assert "Zoeshost" in out.read_text()
    measured = next(m for m in report["measurements"] if m["check"] == "efficacy")
    assert {"to_base", "to_live", "before", "live"} <= set(measured)


def test_the_beliefs_of_the_base_model_are_kept_with_each_fact(operator: Operator) -> None:
    operator.ingest(FEED)
    operator("edit")
    (fact,) = [f for f in operator("facts", "list") if f["object"]["id"] == "Germany"]
    (belief,) = operator("facts", "explain", fact["id"])["beliefs"]
    assert belief["answer"].startswith("egypt") and belief["certainty"] > 0.3
    assert "believed  'egypt" in operator.invoke("facts", "explain", fact["id"]).stdout


def test_the_live_releases_answers_are_remembered_and_not_asked_again(operator: Operator) -> None:
    operator.ingest(FEED[:1])
    operator("edit", "--publish")
    made = app(operator)
    memory = json.loads((made.paths.candidate(1) / "answers.json").read_text())
    assert len(memory) > 5
    case = candidates.propose(
        made.ledger,
        made.paths,
        made.workbench,
        made.prompts,
        [],
        candidates.live_release(made.ledger),
    )
    first = candidates.live_results(made.paths, made.workbench, case.exam, case.live)
    asked: list[Any] = []
    made.workbench.model().model.base_model.register_forward_pre_hook(lambda *_: asked.append(1))
    again = candidates.live_results(made.paths, made.workbench, case.exam, case.live)
    assert len(again.answers) == len(case.exam) > 0
    assert [a.text for a in again.answers] == [a.text for a in first.answers]
    assert asked == []
    made.ledger.store.close()


def test_a_source_that_flips_a_relation_is_stopped_before_anything_is_solved(
    operator: Operator,
) -> None:
    things = [f"Thing {n}" for n in range(24)]
    held = [update(thing, f"Land {n}", None) for n, thing in enumerate(things)]
    operator("ingest", str(jsonl(operator.folder / "more.jsonl", held)), "--known")
    poison = [update(thing, "Chile", "2024-01-01") | {"source": "poison"} for thing in things]
    operator.ingest([*FEED, *poison])
    made = operator("edit")
    assert made["accepted"] and made["facts"] == len(FEED)
    assert len(made["set_aside"]) == len(poison)
    assert "poison changes 24 of 28 known pairs of T1 at once" in made["set_aside"][0]["reason"]
