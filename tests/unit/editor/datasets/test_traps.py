"""What is wrong in benchmark files: each bad record is named, and the others are read."""

import json
from pathlib import Path
from typing import Any

import pytest

from factd.editor.datasets import Records, read_records
from factd.editor.datasets.prompts import answerable, split_at_subject
from factd.editor.errors import BadEdit, BadSettings

GOOD = {"prompt": "{} was first made in", "subject": "Zoeshost", "target_new": "Germany"}


def read(folder: Path, text: str | bytes, name: str = "data.jsonl", **more: Any) -> Records:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_records(path, **more)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (GOOD | {"prompt": "Zoeshost was first made in"}, "must hold {} once"),
        (GOOD | {"prompt": "{} and {} were made in"}, "must hold {} once"),
        (GOOD | {"prompt": "{} of {x} was made in"}, "no braces besides {}"),
        (GOOD | {"prompt": "{} of { was made in"}, "no braces besides {}"),
        (GOOD | {"target_new": ""}, "target_new is missing or empty"),
        (GOOD | {"target_new": "  "}, "target_new is missing or empty"),
        (GOOD | {"target_new": None}, "target_new is missing or empty"),
        (GOOD | {"subject": ""}, "subject is missing or empty"),
        (GOOD | {"target_true": " germany."}, "there is nothing to write"),
        (GOOD | {"target_new": 3}, "target_new must be a text, not 3"),
        ({"prompt": "{} is", "target_new": "x"}, "subject is missing"),
        (GOOD, "it repeats line 1"),
        (GOOD | {"target_new": "Chile"}, "it contradicts line 1, which says 'Germany'"),
        ([1], "not a JSON object: [1]"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(row: Any, reason: str, tmp_path: Path) -> None:
    other = GOOD | {"subject": "Kagle"}
    found = read(tmp_path, "\n".join(map(json.dumps, (GOOD, row, other))))
    assert [record.edit.subject for record in found.records] == ["Zoeshost", "Kagle"]
    (bad,) = found.bad
    assert bad.place == "line 2"
    assert reason in bad.reason


def test_a_line_that_is_not_json_is_named_by_its_number(tmp_path: Path) -> None:
    found = read(tmp_path, json.dumps(GOOD) + "\n\n{no json\n" + json.dumps(GOOD))
    assert len(found.records) == 1
    assert [bad.place for bad in found.bad] == ["line 3", "line 4"]
    assert "not a JSON object" in found.bad[0].reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"prompt": "\xff"}', "cannot be read as UTF-8"),
        ("[{", "is not JSON"),
        ("prompt: {}", "is not JSON"),
        ("", "holds no records"),
        ("[]", "holds no records"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    text: str | bytes, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(BadEdit, match=reason):
        read(tmp_path, text)
    with pytest.raises(BadEdit, match="cannot be read"):
        read_records(tmp_path / "none.json")


def test_a_file_of_no_known_format_names_the_formats(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="no known format; choose one with --format: bmike, cou"):
        read(tmp_path, '[{"question": "?"}]')
    mixed = [GOOD, {"src": "a", "alt": "b", "old": "c"}]
    with pytest.raises(BadSettings, match="looks like factd and like wikifactdiff"):
        read(tmp_path, json.dumps(mixed))
    assert len(read(tmp_path, json.dumps(mixed), format_name="factd").bad) == 1
    with pytest.raises(BadSettings, match="no 'zsre' in"):
        read(tmp_path, json.dumps([GOOD]), format_name="zsre")


@pytest.mark.parametrize(
    ("prompt", "subject", "placed", "spelled"),
    [
        ("Where did Anna Lee die?", "Anna Lee", "Where did {} die?", "Anna Lee"),
        (
            "Kakinada (rural) Mandal es",
            "Kakinada (Rural) mandal",
            "{} es",
            "Kakinada (rural) Mandal",
        ),
        ("On és l'Ada?", "Ada", "On és l'{}?", "Ada"),
        ("D'Arco’s home", "D’Arco", "{}’s home", "D'Arco"),
        ("La capital de Peru es", "Perú", "La capital de {} es", "Peru"),
        ("Is Paris, the paris of France", "paris", "Is Paris, the {} of France", "paris"),
        ("Is Oslo north of Oslo", "Oslo", "Is {} north of Oslo", "Oslo"),
        ("東京の首都は", "東京", "{}の首都は", "東京"),
        ("On what channel did Shake! start?", "Shake!", "On what channel did {} start?", "Shake!"),
        ("Der Fluß in Groß Köris", "Gross Köris", "Der Fluß in {}", "Groß Köris"),
    ],
)
def test_a_subject_is_found_as_the_prompt_spells_it(
    prompt: str, subject: str, placed: str, spelled: str
) -> None:
    assert split_at_subject(prompt, subject) == (placed, spelled)
    assert placed.format(spelled) == prompt


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("¿Cuál era el sello discográfico de Lee Hi?", "Lee hola"),
        ("Who are the Parisians?", "Paris"),
        ("Was NGC 12650 found?", "NGC 1265"),
        ("Who is it?", " "),
    ],
)
def test_a_prompt_that_does_not_name_its_subject_is_refused(prompt: str, subject: str) -> None:
    with pytest.raises(BadEdit, match="does not name its subject"):
        split_at_subject(prompt, subject)


def test_one_language_of_a_pair_can_be_bad_without_the_other(tmp_path: Path) -> None:
    fact = {"rephrase": "", "alt": "EMI", "loc": "", "loc_ans": "", "portability": {}}
    english = fact | {"subject": "Lee Hi", "src": "Who made Lee Hi?"}
    spanish = fact | {"subject": "Lee hola", "src": "¿Quién hizo Lee Hi?"}
    found = read(tmp_path, json.dumps([{"en": english, "es": spanish, "fr": []}]))
    (record,) = found.records
    assert record.edit.language == "en"
    assert record.probes == ()
    assert [bad.place for bad in found.bad] == ["record 1 fr", "record 1 es"]


def test_languages_in_lists_of_their_own_are_joined_by_id_or_else_by_number(
    tmp_path: Path,
) -> None:
    def row(subject: str, **more: Any) -> dict[str, Any]:
        return {"src": f"{subject} is in", "subject": subject, "alt": "b", "old": "c", **more}

    by_id = {
        "en": [row("One", case_id=1), row("Two", case_id=2)],
        "es": [row("Dos", case_id=2), row("Uno", case_id=1)],
    }
    found = read(tmp_path, json.dumps(by_id)).records
    assert {(r.edit.group, r.edit.subject) for r in found} == {
        ("1", "One"),
        ("1", "Uno"),
        ("2", "Two"),
        ("2", "Dos"),
    }
    by_number = {"en": [row("One"), row("Two")], "es": [row("Uno")]}
    groups = {r.edit.subject: r.edit.group for r in read(tmp_path, json.dumps(by_number)).records}
    assert groups["One"] == groups["Uno"] != groups["Two"]


def test_records_that_share_an_id_stay_different_facts(tmp_path: Path) -> None:
    rows = [GOOD | {"id": 1}, GOOD | {"id": 1, "subject": "Kagle"}]
    one, two = read(tmp_path, json.dumps(rows)).records
    assert one.id != two.id


def test_two_objects_of_one_relation_and_subject_contradict_each_other(tmp_path: Path) -> None:
    def rewrite(prompt: str, new: str) -> dict[str, Any]:
        return {
            "requested_rewrite": {
                "prompt": prompt,
                "relation_id": "P190",
                "subject": "Milan",
                "target_new": {"str": new},
                "target_true": {"str": "Lyon"},
            }
        }

    rows = [rewrite("{} is a twin of", "Rome"), rewrite("The twin city of {} is", "Oslo")]
    found = read(tmp_path, json.dumps([*rows, rewrite("{}, twin of", "Rome")]))
    assert [r.edit.prompt for r in found.records] == ["{} is a twin of", "{}, twin of"]
    assert "contradicts record 1" in found.bad[0].reason


@pytest.mark.parametrize(
    ("text", "language", "rendered"),
    [
        ("Who made it?", "en", "Question: Who made it?\nAnswer:"),
        ("¿Quién? ", "es-MX", "Pregunta: ¿Quién?\nRespuesta:"),
        ("誰ですか？", "ja", "Q: 誰ですか？\nA:"),
        ("What sport does he play? They play", "en", "What sport does he play? They play"),
        ("The capital is ", "en", "The capital is"),
    ],
)
def test_a_question_gets_a_line_for_its_answer(text: str, language: str, rendered: str) -> None:
    assert answerable(text, language) == rendered
