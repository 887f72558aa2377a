"""What the bench draws and asks, which rows it makes, and what it keeps on disk."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from factd.bench.public.in_context import statement, with_facts
from factd.bench.public.pieces import Pieces
from factd.bench.public.plan import Entry, entries
from factd.bench.public.records import draw, general_facts, known_records
from factd.daemon.errors import Refused
from factd.editor.datasets import Record
from factd.editor.edits import Edit
from factd.editor.errors import BadSettings
from factd.editor.scoring.score import Probe

CAPITALS = {"France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Norway": "Oslo"}
LAYERS = {"layers": [1, 2, 3]}
ANY_MODEL = Path("a-model-without-preset")


def record(country: str) -> Record:
    return Record(
        id=country,
        edit=Edit(
            prompt="The capital of {} is",
            subject=country,
            target_new="Bonn",
            target_true=CAPITALS[country],
        ),
        probes=(
            Probe(
                kind="neighbourhood",
                language="en",
                prompt=f"The parliament of {country} is in",
                target=CAPITALS[country],
                accepted=(CAPITALS[country],),
                contrast="Bonn",
            ),
        ),
    )


RECORDS = tuple(record(country) for country in CAPITALS)


def ask(prompts: Sequence[str]) -> list[str]:
    """A model that knows three capitals and no parliament of Italy."""
    known = {k: v for k, v in CAPITALS.items() if k != "Norway"}
    return [
        next((v for k, v in known.items() if k in p and "parliament of Italy" not in p), "no idea")
        for p in prompts
    ]


def test_records_count_as_known_if_the_model_gives_the_old_object() -> None:
    assert [r.id for r in known_records(RECORDS, ask)] == ["France", "Spain", "Italy"]


def test_the_drawing_depends_on_its_seed_alone() -> None:
    known = known_records(RECORDS, ask)
    drawn = [draw(RECORDS, known, ask, seed=s, count=2, bystanders=9) for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [len(d.records) for d in drawn] == [2, 2, 2]


def test_bystanders_are_known_and_about_no_edited_subject() -> None:
    known = known_records(RECORDS, ask)
    for seed in range(4):
        found = draw(RECORDS, known, ask, seed=seed, count=1, bystanders=200)
        (edited,) = found.records
        prompts = {p.prompt for p in found.bystanders}
        own = {p for p in prompts if edited.edit.subject in p} - {p.prompt for p in general_facts()}
        assert not own
        assert "The parliament of Italy is in" not in prompts
        assert "The capital of Norway is" not in prompts


def test_probes_are_grouped_by_their_record() -> None:
    found = draw(RECORDS, RECORDS[:1], ask, seed=0, count=5, bystanders=1)
    assert [(p.kind, p.fact) for p in found.probes] == [
        ("edit", "France"),
        ("neighbourhood", "France"),
    ]


def test_general_facts_are_asked_once_each() -> None:
    prompts = [p.prompt for p in general_facts()]
    assert len(prompts) == len(set(prompts)) >= 50


def test_in_context_a_question_follows_the_new_fact_of_its_record() -> None:
    edits = {r.id: r.edit for r in RECORDS[:2]}
    probe = Probe(kind="edit", language="en", prompt="Who?", target="x", accepted=("x",))
    own, other = with_facts([replace(probe, fact="Spain"), replace(probe, fact="what else")], edits)
    assert own.prompt == "The capital of Spain is Bonn.\nWho?"
    assert other.prompt == "The capital of Spain is Bonn.\nWho?"
    assert replace(own, prompt="Who?", fact="") == probe


def test_a_fact_that_ends_its_sentence_gets_no_second_stop() -> None:
    edit = Edit(prompt="{} is", subject="He", target_new="Martin Luther King Jr.")
    assert statement(edit) == "He is Martin Luther King Jr."


def planned(*methods: str, **more: dict[str, object]) -> list[Entry]:
    given = {**LAYERS, **more.get("given", {})}
    strengths = more.get("strengths", {})
    return entries(methods, ANY_MODEL, given=given, strengths=strengths)  # type: ignore[arg-type]


def test_a_method_has_a_row_for_each_strength_with_common_and_own_settings() -> None:
    rows = planned(
        "memit",
        "replay=memit",
        given={"v_lr": 0.2, "replay.targets": "replay", "replay.v_lr": 0.4},
        strengths={"memit.second_moment_weight": [7, 9], "replay.second_moment_weight": [5]},
    )
    assert [(r.method, r.kind, r.value) for r in rows] == [
        ("base", "base", None),
        ("memit", "memit", 7),
        ("memit", "memit", 9),
        ("replay", "memit", 5),
    ]
    assert [r.settings.v_lr for r in rows[1:]] == [0.2, 0.2, 0.4]
    assert rows[1].settings.second_moment_weight == 7.0
    assert rows[3].settings.targets == "replay"


def test_fine_tuning_takes_the_middle_one_of_the_layers() -> None:
    assert {r.settings.layers for r in planned("fine_tuning")[1:]} == {(2,)}


def test_a_public_method_has_the_settings_of_its_method() -> None:
    rows = planned("public-alphaedit", strengths={"public-alphaedit.ridge": [1.0, 10.0]})
    assert [r.settings.ridge for r in rows[1:]] == [1.0, 10.0]


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(Refused, match="add --method rome"):
        planned("memit", strengths={"rome.v_lr": [1.0]})
    with pytest.raises(BadSettings, match="unknown setting 'sharpness'"):
        planned("memit", given={"memit.sharpness": 3})
    with pytest.raises(BadSettings):
        planned("gone")


def test_a_piece_is_computed_once_for_its_key(tmp_path: Path) -> None:
    pieces, made = Pieces(tmp_path), list[int]()

    def compute(seed: int) -> list[int]:
        made.append(seed)
        return [seed]

    for seed in (1, 1, 2):
        assert pieces.json({"piece": "rows", "seed": seed}, partial(compute, seed)) == [seed]
    assert made == [1, 2]
    one = pieces.tensors({"piece": "z"}, lambda: {"z": torch.ones(2)})
    other = pieces.tensors({"piece": "z"}, lambda: {"z": torch.zeros(2)})
    assert torch.equal(one["z"], other["z"])


def test_a_piece_that_failed_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        Pieces(tmp_path).json({"piece": "rows"}, fail)
    assert not list(tmp_path.rglob("*.json"))
