"""The linter of wordings: the packaged wordings pass, and each kind of fault is found."""

from pathlib import Path

import pytest

from factd.store.catalogue.catalogue import PACKAGED, load_catalogue, load_folder, read_relation
from factd.store.catalogue.lint import LANGUAGES, lint_relation

FILE = """
id = "T1"
name = "head"
cardinality = "one"
subject_kind = "company"
object_kind = "person"
[wordings.{language}]
edit = [{edit}, "{other}"]
check = [{check}]
"""
GOOD = {
    "en": ("The head of {} is", "At {} the head is", "The one who leads {} is"),
    "es": ("El jefe de {} es", "El jefe actual de {} es", "La empresa {} tiene como jefe a"),
    "fr": ("L'entreprise {} a pour chef", "Le chef chez {} est", "La tête de la firme {} est"),
    "de": ("Der Chef von {} ist", "Der Chef der Firma {} heißt", "Die Firma {} wird geführt von"),
}


ANOTHER = {
    "en": "The person in charge of {} is",
    "es": "Quien dirige la empresa {} es",
    "fr": "La firme {} a pour tête",
    "de": "An der Spitze der Firma {} steht",
}


def quoted(wording: str) -> str:
    return wording if wording.startswith("{ ") else f'"{wording}"'


def lint(path: Path, language: str, wording: str, *, more: str = "", head: str = "") -> list[str]:
    """The problems in a file with a wording to edit, `head` before it and `more` after it."""
    first, second, third = GOOD[language]
    check = f'"{second}", "{third}"'
    text = FILE.format(language=language, edit=quoted(wording), other=first, check=check)
    (path / "T1.toml").write_text(head + text + more)
    return [f.problem for f in lint_relation(read_relation(path / "T1.toml"), ())]


def lint_past(path: Path, language: str, past: str, *, head: str = "") -> list[str]:
    more = f"past = [{quoted(past)}]\n"
    return lint(path, language, ANOTHER[language], more=more, head=head)


def lint_noun(path: Path, language: str, noun: str) -> list[str]:
    return lint(path, language, ANOTHER[language], more=f"noun = {quoted(noun)}\n")


def test_every_packaged_relation_passes_in_seven_languages() -> None:
    relations = load_folder(PACKAGED)
    assert len(relations) >= 45
    for relation in relations.values():
        assert set(relation.wordings) >= set(LANGUAGES)
        assert lint_relation(relation) == []


@pytest.mark.parametrize(
    ("language", "wording", "problem"),
    [
        ("en", "The company that is led by {}", "ends with the subject"),
        ("en", "{} has as its head a", "ends with 'a'"),
        ("es", "{} tiene como jefe el", "ends with 'el'"),
        ("fr", "Le chef pour {} est le", "ends with 'le'"),
        ("de", "{} hat als Chef den", "ends with 'den'"),
        ("es", "The head of {} is", "reads like en"),
        ("fr", "El jefe de la empresa {} es", "reads like es"),
        ("fr", "Le chef de {} est", "'de' changes before a vowel"),
        ("en", "The head of {} is", "has the same wording twice"),
    ],
)
def test_a_wording_that_makes_a_wrong_sentence_is_reported(
    language: str, wording: str, problem: str, tmp_path: Path
) -> None:
    if problem == "has the same wording twice":
        wording = GOOD[language][0].upper().replace("{}", "{}")
    assert any(problem in one for one in lint(tmp_path, language, wording)), lint(
        tmp_path, language, wording
    )


def test_a_good_wording_and_one_with_both_forms_pass(tmp_path: Path) -> None:
    assert lint(tmp_path, "en", "The person in charge of {} is") == []
    both = '{ plain = "Le chef de {} est", vowel = "Le chef d\'{} est" }'
    assert lint(tmp_path, "fr", both) == []


def test_the_form_before_a_vowel_is_used_before_one() -> None:
    french = load_catalogue()["P26"].wordings["fr"]
    plain = next(iter(french.vowel))
    assert french.form_for(plain, "Élise Martin") == french.vowel[plain]
    assert french.form_for(plain, "Marie Curie") == plain


def test_a_missing_language_is_named(tmp_path: Path) -> None:
    lint(tmp_path, "en", "The person in charge of {} is")
    findings = lint_relation(read_relation(tmp_path / "T1.toml"), ("en", "pt"))
    assert [str(finding) for finding in findings] == ["T1 pt: has no wordings"]


@pytest.mark.parametrize(
    ("language", "past", "problem"),
    [
        ("en", "In {year} the head was {}", "ends with the subject"),
        ("en", "{year} {}:", "says nothing but the subject"),
        ("es", "En {year} el jefe de {} era el", "ends with 'el'"),
        ("es", "In {year} the head of {} was", "reads like en"),
        ("fr", "En {year}, le chef de {} s'appelait", "'de' changes before a vowel"),
    ],
)
def test_a_prompt_about_the_past_that_makes_a_wrong_sentence_is_reported(
    language: str, past: str, problem: str, tmp_path: Path
) -> None:
    assert any(problem in one for one in lint_past(tmp_path, language, past))


def test_as_taught_does_not_excuse_prompts_about_the_past(tmp_path: Path) -> None:
    taught = 'as_taught = ["fr"]\n'
    past = "En {year}, le chef de {} s'appelait"
    assert lint(tmp_path, "fr", "Le chef de {} est", head=taught) == []
    assert any("changes" in one for one in lint_past(tmp_path, "fr", past, head=taught))


@pytest.mark.parametrize(
    ("language", "past"),
    [
        ("en", "In {year} the head of {} was"),
        ("es", "En {year} el jefe de {} se llamaba"),
        ("de", "Der Chef von {} hieß im Jahr {year}"),
        (
            "fr",
            (
                '{ plain = "En {year}, le chef de {} était", '
                'vowel = "En {year}, le chef d\'{} était" }'
            ),
        ),
    ],
)
def test_a_good_prompt_about_the_past_passes(language: str, past: str, tmp_path: Path) -> None:
    assert lint_past(tmp_path, language, past) == []


@pytest.mark.parametrize(
    ("language", "noun", "problem"),
    [
        ("en", "{} and its head", "must begin with a definite article"),
        ("es", "El jefe de {}", "must begin with a definite article"),
        ("es", "un jefe de {}", "must begin with a definite article"),
        ("en", "the {}", "says nothing but the subject"),
        ("fr", "la tête qui dirige with the help of {}", "reads like en"),
        ("fr", "le chef de {}", "'de' changes before a vowel"),
        ("de", "der Chef von {}", "cannot stand in another wording of de"),
    ],
)
def test_a_noun_that_cannot_stand_in_another_wording_is_found(
    language: str, noun: str, problem: str, tmp_path: Path
) -> None:
    assert any(problem in one for one in lint_noun(tmp_path, language, noun))


@pytest.mark.parametrize(
    ("language", "noun"),
    [
        ("en", "the head of {}"),
        ("es", "el jefe de {}"),
        ("fr", '{ plain = "le chef de {}", vowel = "le chef d\'{}" }'),
        ("fr", "l'homme qui dirige {}"),
    ],
)
def test_a_good_noun_passes(language: str, noun: str, tmp_path: Path) -> None:
    assert lint_noun(tmp_path, language, noun) == []


def test_a_relation_with_several_objects_at_a_time_has_no_past_and_no_noun(tmp_path: Path) -> None:
    lint_noun(tmp_path, "en", "the head of {}")
    path = tmp_path / "T1.toml"
    path.write_text(path.read_text().replace('"one"', '"many"'))
    assert [f.problem for f in lint_relation(read_relation(path), ())] == [
        "has several objects at a time; past and noun need one"
    ]
