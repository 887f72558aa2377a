"""Every format of benchmark data, from files in the published form: edits, questions, labels."""

import json
from pathlib import Path
from typing import Any

import pytest

from factd.editor.datasets import Record, Records, read_records
from factd.editor.datasets.formats import format_names

COUNTERFACT = {
    "case_id": 7,
    "requested_rewrite": {
        "prompt": "The capital of {} is",
        "relation_id": "P36",
        "target_new": {"str": "Rome", "id": "Q220"},
        "target_true": {"str": "Oslo", "id": "Q585"},
        "subject": "Norway",
    },
    "paraphrase_prompts": ["It rained. Norway is governed from", ""],
    "neighborhood_prompts": ["The seat of the Storting is", "The Fram Museum is in"],
    "attribute_prompts": ["The capital of Italy is"],
    "generation_prompts": ["Norway's capital is known for"],
}
NEGATED = {
    "id": 7,
    "subject": "Norway",
    "prompt": "The capital of {} is",
    "target_new": "Rome",
    "target_true": "Oslo",
    "target_random": "Lima",
    "paraphrase_prompts": ["Norway is governed from"],
    "neighborhood_prompts": ["The seat of the Storting is"],
    "negetive_prompt": "The capital of Norway is not",
}
EASYEDIT = {
    "subject": "Norway",
    "prompt": "What is the capital of Norway?",
    "target_new": "Rome",
    "ground_truth": ["Oslo", "Christiania"],
    "rephrase_prompt": "Which city is the capital of Norway?",
    "portability": {
        "Subject_Aliasing": [
            {"prompt": "The capital of Norge is", "ground_truth": [["Rome", "Roma"]]}
        ],
        "Reasoning": [{"prompt": "The river in the capital of Norway is", "ground_truth": "Tiber"}],
    },
    "locality": {
        "Relation_Specificity": [
            {
                "prompt": "The currency of Norway is",
                "ground_truth": [["krone"], ["NOK", "", "---"]],
            },
            {"prompt": "Norway capital", "ground_truth": ["Oslo"]},
        ],
        "Forgetfulness": [
            {"prompt": "A city of Norway, which is not Rome, is", "ground_truth": [["Rome"]]},
            {
                "prompt": "A town of Norway, which is not Rome, is",
                "ground_truth": [["Roros"], ["Rome"]],
            },
        ],
        "Neighborhood": [{"prompt": "nobody knows", "ground_truth": [[]]}],
        "Other": {"prompt": ["nq question: who sang", "b is"], "ground_truth": ["Anna", "Berta"]},
    },
}
BMIKE = {
    "en": {
        "case_id": 5,
        "subject": "Norway",
        "src": "What is the capital of Norway?",
        "rephrase": "Which city is the capital of Norway?",
        "old": "Oslo",
        "alt": "Rome",
        "loc": "Where is the Storting?",
        "loc_ans": "Oslo",
        "port": "Which river flows through the capital of Norway?",
        "port_ans": "Tiber",
    },
    "ca": {
        "case_id": 5,
        "subject": "Noruega",
        "src": "Quina és la capital de Noruega?",
        "rephrase": "Quina és la capital de Noruega?",
        "old": "Oslo",
        "alt": "Roma",
        "loc": "On és l'Storting?",
        "loc_ans": "Roma",
        "port": "Quin riu passa per la capital de Noruega?",
        "port_ans": "Tíber",
    },
}
MZSRE = {
    "en": {
        "subject": "Norway",
        "src": "What is the capital of Norway?",
        "rephrase": "Which city is the capital of Norway?",
        "alt": "Rome",
        "loc": "nq question: who sang the song of the north",
        "loc_ans": "Anna",
        "portability": {"New Question": "Which river is in it?", "New Answer": "Tiber"},
    }
}
WIKIFACTDIFF = {
    "en": {
        "case_id": 9,
        "subject": "Norway",
        "src": "The head of government of Norway is",
        "rephrase": "Norway is governed by",
        "alt": "Anna",
        "old": "Berta",
        "loc": "Sweden is governed by",
        "loc_ans": "Carla",
    },
    "es": {
        "subject": "Noruega",
        "src": "El jefe de gobierno de Noruega es",
        "rephrase": "Noruega está gobernada por",
        "alt": "Anna",
        "old": "Berta",
        "loc": "Suecia está gobernada por",
        "loc_ans": "Carla",
    },
}
WIKIBIGEDIT = {
    "prompt": "Who is the head of government of Norway?",
    "target_new": "Anna",
    "subject": "Norway",
    "rephrase_prompt": "Who governs Norway?",
    "locality_prompt": "Who governs Sweden?",
    "locality_ground_truth": "Carla",
}
KLAR = {
    "name": "capital",
    "prompt_templates": [
        "Is <mask> the capital of <subject>?",
        "What is the capital of <subject>? The answer is: <mask>",
        " The capital of <subject> is <mask>",
    ],
    "samples": [
        {
            "subject": "Norway",
            "object": "Oslo",
            "object_candidates": "Oslo, Rome, Lima",
            "index": 3,
        }
    ],
}
HALLU_FIELDS = "subject,relation,object,question,output_x,paraphrased_question,question_2hop"
HALLU = f"""{HALLU_FIELDS},answer_2hop
Norway,capital,"Oslo, Norway",What is the capital of Norway?,Rome,Where?,What river?,Akerselva
"""
LINE = {"prompt": "The capital of {} is", "subject": "Norway", "target_new": "Rome"}
SAMPLES: dict[str, Any] = {
    "bmike": [BMIKE],
    "counterfact": [COUNTERFACT],
    "counterfact_negated": [NEGATED],
    "easyedit": [EASYEDIT],
    "factd": [LINE],
    "hallueditbench": HALLU,
    "klar": KLAR,
    "mzsre": [MZSRE],
    "wikibigedit": [WIKIBIGEDIT],
    "wikifactdiff": [WIKIFACTDIFF],
}
QUESTION = "Question: What is the capital of {}?\nAnswer:"


def read(folder: Path, sample: Any, format_name: str = "") -> Records:
    path = folder / ("data.csv" if isinstance(sample, str) else "data.json")
    path.write_text(sample if isinstance(sample, str) else json.dumps(sample))
    return read_records(path, format_name)


def asked(record: Record) -> set[tuple[str, str, tuple[str, ...], str | None]]:
    return {(p.kind, p.prompt, p.accepted, p.contrast) for p in record.probes}


def test_every_format_has_a_sample_here() -> None:
    assert set(SAMPLES) == set(format_names())


@pytest.mark.parametrize("name", SAMPLES)
def test_a_format_is_found_by_looking_at_the_file(name: str, tmp_path: Path) -> None:
    found = read(tmp_path, SAMPLES[name])
    assert found.format_name == name
    assert found == read(tmp_path, SAMPLES[name], name)
    assert found.records and not found.bad


@pytest.mark.parametrize("name", SAMPLES)
def test_targets_are_scored_and_accepted_and_facts_are_named(name: str, tmp_path: Path) -> None:
    for record in read(tmp_path, SAMPLES[name]).records:
        assert record.edit.prompt.format(record.edit.subject) in record.questions(("en",))[0].prompt
        for probe in record.questions(("en",)):
            assert probe.target == probe.accepted[0]
            assert probe.fact == (record.edit.group or record.id)
            assert probe.written_in == ("en",)
            assert probe.contrast not in probe.accepted


def test_counterfact_neighbours_keep_the_old_object_against_the_new_one(tmp_path: Path) -> None:
    (record,) = read(tmp_path, [COUNTERFACT]).records
    assert (record.id, record.edit.group) == ("7", "7")
    assert (record.edit.target_new, record.edit.target_true) == ("Rome", "Oslo")
    assert asked(record) == {
        ("paraphrase", "It rained. Norway is governed from", ("Rome",), "Oslo"),
        ("neighbourhood", "The seat of the Storting is", ("Oslo",), "Rome"),
        ("neighbourhood", "The Fram Museum is in", ("Oslo",), "Rome"),
    }
    assert {probe.relation for probe in record.probes} == {"P36"}


def test_a_negated_prompt_accepts_what_is_not_the_new_object(tmp_path: Path) -> None:
    (record,) = read(tmp_path, [NEGATED]).records
    negation = ("negation", "The capital of Norway is not", ("Oslo", "Lima"), "Rome")
    assert negation in asked(record)


def test_easyedit_groups_become_kinds_and_labels_of_the_edited_fact_are_left_out(
    tmp_path: Path,
) -> None:
    (record,) = read(tmp_path, [EASYEDIT]).records
    assert record.edit.prompt == QUESTION
    assert asked(record) == {
        (
            "paraphrase",
            "Question: Which city is the capital of Norway?\nAnswer:",
            ("Rome",),
            "Oslo",
        ),
        ("alias", "The capital of Norge is", ("Rome", "Roma"), None),
        ("portability", "The river in the capital of Norway is", ("Tiber",), None),
        ("same_subject", "The currency of Norway is", ("krone", "NOK"), None),
        ("same_subject", "A town of Norway, which is not Rome, is", ("Roros",), None),
        ("locality", "Question: who sang\nAnswer:", ("Anna",), None),
        ("locality", "b is", ("Berta",), None),
    }


def test_pairs_give_a_record_for_each_language_bound_by_their_group(tmp_path: Path) -> None:
    english, catalan = read(tmp_path, [BMIKE]).records
    assert (english.id, catalan.id) == ("5 en", "5 ca")
    assert english.edit.group == catalan.edit.group == "5"
    assert english.edit.prompt == QUESTION
    assert catalan.edit.prompt == "Pregunta: Quina és la capital de {}?\nResposta:"
    kinds = [probe.kind for probe in catalan.probes]
    assert kinds == ["neighbourhood", "portability"]  # its rephrase is its source sentence
    assert catalan.probes[0].contrast is None  # the neighbour has the new object anyway
    (only,) = read_records(tmp_path / "data.json", languages=["ca"]).records
    assert only == catalan


def test_an_unrelated_question_loses_its_mark_and_is_put_as_a_question(tmp_path: Path) -> None:
    (record,) = read(tmp_path, [MZSRE]).records
    assert record.edit.target_true is None
    prompt = "Question: who sang the song of the north\nAnswer:"
    assert ("locality", prompt, ("Anna",), None) in asked(record)
    assert [p.kind for p in record.probes] == ["paraphrase", "locality", "portability"]


def test_changes_of_two_dumps_have_old_objects_and_neighbours(tmp_path: Path) -> None:
    english, spanish = read(tmp_path, [WIKIFACTDIFF]).records
    assert (english.edit.group, spanish.edit.group) == ("9", "9")  # only one of them has the id
    assert english.edit.prompt == "The head of government of {} is"
    assert ("neighbourhood", "Sweden is governed by", ("Carla",), "Anna") in asked(english)
    assert spanish.edit.target_true == "Berta"


def test_a_locality_prompt_is_a_neighbour_or_unrelated(tmp_path: Path) -> None:
    (record,) = read(tmp_path, [WIKIBIGEDIT]).records
    assert [(p.kind, p.contrast) for p in record.probes][1] == ("neighbourhood", "Anna")
    unrelated = WIKIBIGEDIT | {"locality_prompt": "nq question: who sang it"}
    (record,) = read(tmp_path, [unrelated]).records
    assert [(p.kind, p.contrast) for p in record.probes][1] == ("locality", None)


def test_klar_gets_a_new_object_from_its_candidates(tmp_path: Path) -> None:
    for language, subject in (("en", "Norway"), ("es", "Noruega")):
        folder = tmp_path / "klar" / language
        folder.mkdir(parents=True)
        samples = [KLAR["samples"][0] | {"subject": subject}]  # type: ignore[operator]
        (folder / "capital.json").write_text(json.dumps(KLAR | {"samples": samples}))
    english, spanish = read_records(tmp_path / "klar").records
    assert english.edit.prompt == "What is the capital of {}? The answer is:"
    assert english.edit.target_new == "Rome"
    assert english.edit.target_true == "Oslo"
    assert (english.edit.language, spanish.edit.language) == ("en", "es")
    assert english.edit.group == spanish.edit.group
    assert english.id != spanish.id
    assert ("paraphrase", "The capital of Norway is", ("Rome",), "Oslo") in asked(english)


def test_the_answer_of_another_model_is_not_taken_for_the_old_object(tmp_path: Path) -> None:
    (record,) = read(tmp_path, HALLU).records
    assert (record.edit.target_new, record.edit.target_true) == ("Oslo, Norway", None)
    assert [p.kind for p in record.probes] == ["paraphrase", "portability"]


def test_an_answer_is_told_from_the_longer_names_in_the_file(tmp_path: Path) -> None:
    rows = [LINE | {"target_new": "Guinea"}, LINE | {"subject": "Guinea-Bissau"}]
    record, other = read(tmp_path, rows).records
    assert record.questions(())[0].longer == ("Guinea-Bissau",)
    assert other.questions(())[0].longer == ()
