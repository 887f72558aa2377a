"""Which records are written and asked, and what is said of the others."""

from dataclasses import replace

import pytest

from factd.daemon.editing.candidates import quiet
from factd.daemon.editing.written_records import Selection, select_records
from factd.daemon.errors import Refused
from factd.editor import load_model
from factd.editor.datasets import Record, Records
from factd.editor.edits import Edit
from factd.editor.models.model import EditableModel
from factd.editor.scoring.score import Probe, greedy_answers
from support.paths import GOLDEN

PROMPT = "{} was first made in"


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(GOLDEN / "llama" / "model")


def record(subject: str, target: str = "Zanzibar", **more: str) -> Record:
    edit = Edit(prompt=PROMPT, subject=subject, target_new=target, **more)  # type: ignore[arg-type]
    id = f"{subject} {edit.language}"
    return Record(id=id, place=f"line {subject}", edit=edit, probes=())


def chosen(
    model: EditableModel, *records: Record, limit: int | None = None, **more: str
) -> Selection:
    read = Records(records=records, bad=(), format_name="factd")
    languages = tuple(filter(None, more.get("languages", "").split(",")))
    return select_records(model, read, languages=languages, limit=limit, progress=quiet)


def known(model: EditableModel, subject: str, **more: str) -> Record:
    said = greedy_answers(model, [PROMPT.format(subject)])[0].strip(" .")
    return record(subject, said, **more)


def test_a_known_record_is_skipped_and_the_limit_counts_what_is_written(
    model: EditableModel,
) -> None:
    records = (record("A"), known(model, "Zoeshost"), record("B"), record("C"))
    selection = chosen(model, *records, limit=2)
    assert [r.edit.subject for r in selection.written] == ["A", "B"]
    (skipped,) = selection.skipped
    assert skipped.place == "line Zoeshost"
    assert skipped.reason.endswith("already")
    with pytest.raises(Refused, match="nothing is left to write: line Zoeshost: the model says"):
        chosen(model, known(model, "Zoeshost"))


def test_a_subject_without_a_token_is_skipped(model: EditableModel) -> None:
    odd = replace(record("A"), edit=replace(record("A").edit, prompt="{}\u200b", subject="\u200b"))
    selection = chosen(model, record("B"), odd)
    assert len(selection.written) + len(selection.skipped) == 2


def test_a_limit_counts_facts_and_not_languages(model: EditableModel) -> None:
    pairs = [record(s, language=k, group=s) for s in "AB" for k in ("en", "es")]
    selection = chosen(model, *pairs, limit=1)
    assert [r.edit.language for r in selection.written] == ["en", "es"]


def test_other_languages_are_asked_about_written_facts_only(model: EditableModel) -> None:
    pairs = [record(s, language=k, group=s) for s in "AB" for k in ("en", "es")]
    alone = record("C", language="es")
    selection = chosen(model, *pairs, alone, limit=1, languages="en")
    assert [r.id for r in selection.written] == ["A en"]
    assert [r.id for r in selection.asked] == ["A es", "C es"]
    assert len(selection.edits(takes_all=False)) == 1
    assert len(selection.edits(takes_all=True)) == 3
    written_in = {(p.language, p.written_in) for p in selection.probes(("en",))}
    assert written_in == {("en", ("en",)), ("es", ("en",))}
    with pytest.raises(Refused, match="no edit is in fr; the file has en, es"):
        chosen(model, *pairs, languages="fr")


def test_a_neighbour_that_another_record_edits_is_not_asked() -> None:
    def neighbour(prompt: str) -> Probe:
        return Probe(
            kind="neighbourhood", language="en", prompt=prompt, target="x", accepted=("x",)
        )

    asks = replace(record("A"), probes=(neighbour(PROMPT.format("B")), neighbour("D is in")))
    selection = Selection(format_name="", written=(asks, record("B")), asked=(), skipped=())
    kept = [p.prompt for p in selection.probes(()) if p.kind == "neighbourhood"]
    assert kept == ["D is in"]


def test_the_records_of_a_fact_can_be_taken_out_with_a_reason() -> None:
    written = (record("A", group="a"), record("B", group="b"))
    asked = (record("A", language="es", group="a"),)
    selection = Selection(format_name="", written=written, asked=asked, skipped=())
    left = selection.without("a", "a value is not finite")
    assert [r.edit.subject for r in left.written] == ["B"]
    assert left.asked == ()
    assert [(bad.place, bad.reason) for bad in left.skipped] == [
        ("line A", "a value is not finite")
    ]
