"""The linter of wordings: the packaged ones pass, and each thing that is wrong is found."""

from pathlib import Path

import pytest

from store.catalogue import PACKAGED, load_catalogue, load_folder, read_relation
from store.wording_rules import LANGUAGES, findings

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


def lint(path: Path, language: str, wording: str) -> list[str]:
    first, second, third = GOOD[language]
    quoted = wording if wording.startswith("{ ") else f'"{wording}"'
    text = FILE.format(language=language, edit=quoted, other=first, check=f'"{second}", "{third}"')
    (path / "T1.toml").write_text(text)
    return [f.problem for f in findings(read_relation(path / "T1.toml"), ())]


def test_every_packaged_relation_passes_in_seven_languages() -> None:
    relations = load_folder(PACKAGED)
    assert len(relations) >= 45
    for relation in relations.values():
        assert set(relation.wordings) >= set(LANGUAGES)
        assert findings(relation) == []


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
        ("en", "The head of {} is", "says the same twice"),
    ],
)
def test_a_wording_that_would_make_a_wrong_sentence_is_found(
    language: str, wording: str, problem: str, tmp_path: Path
) -> None:
    if problem == "says the same twice":
        wording = GOOD[language][0].upper().replace("{}", "{}")
    assert any(problem in found for found in lint(tmp_path, language, wording)), lint(
        tmp_path, language, wording
    )


def test_a_good_wording_and_one_with_both_forms_pass(tmp_path: Path) -> None:
    assert lint(tmp_path, "en", "The person in charge of {} is") == []
    both = '{ plain = "Le chef de {} est", vowel = "Le chef d\'{} est" }'
    assert lint(tmp_path, "fr", both) == []


def test_the_form_before_a_vowel_is_used_before_one() -> None:
    french = load_catalogue()["P26"].wordings["fr"]
    plain = next(iter(french.vowel))
    assert french.before(plain, "Élise Martin") == french.vowel[plain]
    assert french.before(plain, "Marie Curie") == plain


def test_a_language_that_lacks_is_named(tmp_path: Path) -> None:
    lint(tmp_path, "en", "The person in charge of {} is")
    found = findings(read_relation(tmp_path / "T1.toml"), ("en", "pt"))
    assert [str(finding) for finding in found] == ["T1 pt: has no wordings"]
