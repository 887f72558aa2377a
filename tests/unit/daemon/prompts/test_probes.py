"""Facts give probes of every kind, and no kept probe uses a wording that factd edits with."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from factd.daemon.prompts.edits import PromptSettings, SampleSizes
from factd.daemon.prompts.probes import (
    FactContext,
    are_namesakes,
    batch_probes,
    earlier_probes,
    known_fact_probes,
    ranked_questions,
    still_valid_probes,
)
from factd.editor.exams.exam import Exam
from factd.editor.exams.report import probe_kinds
from factd.editor.scoring.score import Probe
from factd.store.catalogue.catalogue import Catalogue
from factd.store.model.facts import Entity, Fact, FactStatus, FactUpdate

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def thing(id_: str, name: str, *aliases: str) -> Entity:
    labels = {"en": name, "es": f"{name} es"}
    return Entity(id=id_, labels=labels, aliases={"en": aliases} if aliases else {})


def fact(
    subject: Entity, relation: str, held: Entity, *, since: date | None = None, known: bool = True
) -> Fact:
    update = FactUpdate(
        source="test",
        revision=f"{subject.id}-{relation}-{held.id}",
        event_time=NOW,
        subject=subject,
        relation=relation,
        object=held,
        valid_from=since,
    )
    status = FactStatus.KNOWN if known else FactStatus.PENDING
    return Fact(id=update.id, update=update, status=status, observed_at=NOW, known=known, reason="")


CROATIA, KUNA, EURO = thing("HR", "Croatia", "Hrvatska"), thing("HRK", "kuna"), thing("EUR", "euro")
ZAGREB, GUINEA = thing("ZAG", "Zagreb"), thing("GQ", "Equatorial Croatia")
OLD = fact(CROATIA, "P38", KUNA)
NEW = fact(CROATIA, "P38", EURO, since=date(2023, 1, 1), known=False)
KNOWN = (
    OLD,
    fact(ZAGREB, "P17", CROATIA),
    fact(GUINEA, "P38", KUNA),
    fact(thing("RS", "Serbia"), "P38", thing("RSD", "dinar")),
)
CONTEXT = FactContext(new=(NEW,), before={NEW.id: OLD}, known=KNOWN)


@pytest.fixture(scope="module")
def prompts(catalogue: Catalogue) -> PromptSettings:
    return PromptSettings(
        catalogue=catalogue,
        write=("en",),
        served=("en", "es"),
        edit_wordings=2,
        keep_wordings=1,
        keep_relations=1,
        sizes=SampleSizes(known=10, candidates=3),
    )


def of(probes: tuple[Probe, ...], kind: str, language: str = "en") -> list[Probe]:
    return [p for p in probes if (p.kind, p.language) == (kind, language)]


def test_a_new_fact_is_asked_in_every_way(prompts: PromptSettings) -> None:
    probes = batch_probes(CONTEXT, prompts)
    assert {p.prompt for p in of(probes, "edit")} == {
        "The currency of Croatia is the",
        "Croatia has as its currency the",
    }
    assert of(probes, "edit")[0].contrast == "kuna"
    assert of(probes, "edit", "es")[0].written_in == ("en",)
    assert len(of(probes, "paraphrase")) >= 2
    assert "Hrvatska" in of(probes, "alias")[0].prompt
    past = of(probes, "temporal")
    assert all("2022" in p.prompt for p in past) and past
    assert {(p.target, p.contrast) for p in past} == {("kuna", "euro")}
    hops = of(probes, "consequence")
    assert hops and "the country of the city of Zagreb" in hops[0].prompt
    assert (hops[0].target, hops[0].contrast) == ("euro", "kuna")


def test_every_kind_of_probe_is_measured_by_a_check_and_every_check_has_its_probes(
    prompts: PromptSettings,
) -> None:
    probes = (
        *batch_probes(CONTEXT, prompts),
        *known_fact_probes(KNOWN, prompts),
        *earlier_probes(FactContext(new=(), before={}, known=(), earlier=(NEW,)), "en", prompts),
    )
    declared = probe_kinds()
    of_benchmarks = {"same_subject", "locality", "negation", "portability"}  # editor/datasets
    measured = {kind for kinds in declared.values() for kind in kinds}
    assert measured == {p.kind for p in probes} | of_benchmarks
    assert declared["portability"] == ("alias", "consequence", "portability")
    assert "drift" not in declared  # it measures texts


def test_a_consequence_of_the_object_is_asked_through_the_subject(prompts: PromptSettings) -> None:
    moved = fact(ZAGREB, "P17", thing("RS", "Serbia"), since=date(2030, 1, 1), known=False)
    known = (*KNOWN[:1], fact(thing("RS", "Serbia"), "P38", thing("RSD", "dinar")), KNOWN[1])
    context = FactContext(new=(moved,), before={moved.id: KNOWN[1]}, known=known)
    (hop,) = of(batch_probes(context, prompts), "consequence")
    assert (hop.target, hop.contrast) == ("dinar", "kuna")
    assert "the country of the city of Zagreb" in hop.prompt


def test_neighbours_have_the_same_old_object_and_namesakes_share_words(
    prompts: PromptSettings,
) -> None:
    probes = batch_probes(CONTEXT, prompts)
    (near,) = of(probes, "neighbourhood")
    assert (near.target, near.contrast) == ("kuna", "euro")
    assert {p.prompt.count("Equatorial Croatia") for p in of(probes, "namesake")} == {1}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Guinea", "Equatorial Guinea", True),
        ("Papua New Guinea", "Equatorial Guinea", True),
        ("Cayman Islands", "Islands", True),
        ("Niger", "Nigeria", False),
        ("South Sudan", "South Africa", False),
    ],
)
def test_namesakes_share_whole_words(one: str, other: str, same: bool) -> None:
    assert are_namesakes(one, other) is are_namesakes(other, one) is same


def test_earlier_facts_are_asked_as_such(prompts: PromptSettings) -> None:
    found = tuple(
        earlier_probes(FactContext(new=(), earlier=(NEW,), before={NEW.id: OLD}), "en", prompts)
    )
    assert [p.kind for p in found] == ["earlier", "earlier"]
    assert found[0].written_in == ("en",)


def test_no_probe_about_a_known_fact_is_in_an_edit_wording(
    prompts: PromptSettings, catalogue: Catalogue
) -> None:
    probes = known_fact_probes(KNOWN, prompts)
    assert len(probes) == 2 * len(KNOWN)
    names = [e.labels[k] for f in KNOWN for e in (f.subject,) for k in ("en", "es")]
    edits = {
        wordings.form_for(wording, name).format(name)
        for relation in catalogue.values()
        for wordings in relation.wordings.values()
        for wording in wordings.edit
        for name in names
    }
    assert not {p.prompt for p in probes} & edits
    asked = ranked_questions(KNOWN, prompts)
    assert not {prompt for rows in asked.values() for prompt, _ in rows} & edits


def test_a_probe_about_a_fact_that_is_written_over_is_left_out(prompts: PromptSettings) -> None:
    probes = known_fact_probes(KNOWN, prompts)
    assert {p.fact for p in probes} - {p.fact for p in still_valid_probes(probes, CONTEXT)} == {
        OLD.id
    }


def test_probes_carry_the_longer_names_of_other_things(prompts: PromptSettings) -> None:
    old_lira = thing("TRL", "Turkish lira (1922–2005)")
    turkey = fact(thing("TR", "Turkey"), "P38", thing("TRY", "Turkish lira", "lira"), known=False)
    context = FactContext(new=(turkey,), before={turkey.id: fact(turkey.subject, "P38", old_lira)})
    assert of(batch_probes(context, prompts), "edit")[0].longer == ("Turkish lira (1922–2005)",)
    known = (*KNOWN, fact(thing("X", "Xland"), "P38", thing("KUN", "kunat")))
    kept = {p.fact: p.longer for p in known_fact_probes(known, prompts) if p.language == "en"}
    assert kept[OLD.id] == ("kunat",)
    assert kept[known[-1].id] == ()


def test_another_day_draws_other_facts(prompts: PromptSettings) -> None:
    few = replace(prompts, sizes=SampleSizes(known=1))
    drawn = {
        known_fact_probes(KNOWN, few, salt=day)[0].fact for day in ("1", "2", "3", "4", "5", "6")
    }
    assert len(drawn) > 1
    assert known_fact_probes(KNOWN, few, salt="1") == known_fact_probes(KNOWN[::-1], few, salt="1")


def test_ranked_questions_have_the_same_candidates_in_every_language(
    prompts: PromptSettings,
) -> None:
    found = ranked_questions(KNOWN, prompts)
    assert [len(found[k]) for k in ("en", "es")] == [3, 3]
    for (_, one), (_, two) in zip(found["en"], found["es"], strict=True):
        assert [f"{name} es" for name in one] == two


def test_an_exam_survives_json(prompts: PromptSettings) -> None:
    exam = Exam(
        probes=batch_probes(CONTEXT, prompts),
        texts={"en": ("a", "b")},
        questions=ranked_questions(KNOWN, prompts),
    )
    again = Exam.from_json(exam.as_json())
    assert again.as_json() == exam.as_json()
    assert again.probes == exam.probes
    assert exam.counts()["text en"] == 2
