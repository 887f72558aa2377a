"""The relation catalogue."""

from pathlib import Path

import pytest

from factd.store.catalogue.catalogue import PACKAGED, load_catalogue, read_relation
from factd.store.catalogue.contractions import ARTICLES
from factd.store.errors import BadRelation

GOOD = (PACKAGED / "P38.toml").read_text()
OF_THE_PAST = "In {year} the currency of {} was the"


def test_the_packaged_relations_are_read() -> None:
    relations = load_catalogue()
    assert set(relations) >= {"P17", "P30", "P37", "P38", "P282"}
    assert relations["P38"].wordings["en"].edit[0] == "The currency of {} is the"
    assert not relations["P38"].many


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('id = "P38"', "", "KeyError"),
        ('cardinality = "one"', 'cardinality = "some"', "cardinality must be"),
        ("The currency of {} is the", "The currency is the", "must hold {} once"),
        (
            "The currency of {} is the",
            "The money used in {} is the",
            "checks with a wording that it edits with",
        ),
        (
            (
                '  "In {} people pay with the",\n'
                '  "Question: What is the currency of {}? Answer: the",\n'
            ),
            "",
            "two to check",
        ),
        ("[wordings.en]", "[wordings.en", "TOMLDecodeError"),
        (OF_THE_PAST, "Then the currency of {} was the", "must hold {year} once"),
        (OF_THE_PAST, "From {year} to {year} the currency of {} was the", "must hold {year} once"),
        (OF_THE_PAST, "In {year} the currency was the", "must hold {} once"),
        (OF_THE_PAST, f" {OF_THE_PAST}", "have no space around"),
        (
            f'"{OF_THE_PAST}"',
            f'"{OF_THE_PAST}", "{OF_THE_PAST}"',
            "has the same wording twice in past",
        ),
        (OF_THE_PAST, "The currency of {} is the", "must hold {year} once"),
        ("The currency of {} is the", OF_THE_PAST, "must hold {year} never"),
        ("past = [", 'noun = "the money"\npast = [', "must hold {} once"),
        ("past = [", 'noun = ""\npast = [', "must hold {} once"),
        ("past = [", 'noun = { plain = "the money of {}" }\npast = [', "KeyError('vowel')"),
        ("past = [", "pasts = [", "has unknown keys: pasts"),
    ],
)
def test_a_faulty_file_is_named_together_with_its_fault(
    before: str, after: str, reason: str, tmp_path: Path
) -> None:
    assert before in GOOD
    path = tmp_path / "P38.toml"
    path.write_text(GOOD.replace(before, after, 1))
    with pytest.raises(BadRelation, match=r"P38\.toml") as caught:
        read_relation(path)
    assert reason in str(caught.value)


def test_a_relation_in_the_user_s_folder_replaces_a_packaged_one(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD.replace('name = "currency"', 'name = "money"'))
    assert load_catalogue(tmp_path)["P38"].name == "money"
    with pytest.raises(BadRelation, match="is not a folder"):
        load_catalogue(tmp_path / "nothing")


def test_past_and_noun_may_be_missing(tmp_path: Path) -> None:
    plain = load_catalogue()["P30"].wordings["en"]
    assert (plain.past, plain.noun, plain.noun_phrase("Croatia")) == ((), "", "")


def test_the_wordings_about_the_present_include_neither_the_past_nor_the_noun() -> None:
    capital = load_catalogue()["P36"].wordings["en"]
    assert not {*capital.past, capital.noun} & {*capital.all}


@pytest.mark.parametrize(
    ("relation", "language", "name", "prompt"),
    [
        ("P38", "en", "Croatia", "In 2022 the currency of Croatia was the"),
        ("P38", "de", "Kroatien", "Die Währung von Kroatien hieß im Jahr 2022"),
        ("P38", "fr", "France", "En 2022, la monnaie de France s'appelait"),
        ("P38", "fr", "Andorre", "En 2022, la monnaie d'Andorre s'appelait"),
        ("P37", "ca", "Eslovènia", "L'any 2022 la llengua oficial d'Eslovènia es deia"),
        ("P39", "it", "Élisa {}", "Nel 2022 Élisa {} ricopriva la carica di"),
    ],
)
def test_a_prompt_about_a_year_has_the_form_that_fits_the_name(
    relation: str, language: str, name: str, prompt: str
) -> None:
    wordings = load_catalogue()[relation].wordings[language]
    assert wordings.past_prompt(wordings.past[0], name, 2022) == prompt


@pytest.mark.parametrize(
    ("relation", "language", "name", "phrase"),
    [
        ("P17", "en", "Zagreb", "the country of the city of Zagreb"),
        ("P17", "fr", "Lyon", "le pays de la ville de Lyon"),
        ("P17", "fr", "Arles", "le pays de la ville d'Arles"),
        ("P54", "ca", "Aitana", "l'equip d'Aitana"),
    ],
)
def test_a_noun_names_the_object_through_its_subject(
    relation: str, language: str, name: str, phrase: str
) -> None:
    assert load_catalogue()[relation].wordings[language].noun_phrase(name) == phrase


def test_every_packaged_noun_can_be_the_subject_of_another_relation() -> None:
    relations = load_catalogue()
    kinds = {relation.subject_kind for relation in relations.values()}
    with_noun = [r for r in relations.values() if any(w.noun for w in r.wordings.values())]
    assert len(with_noun) >= 20
    for relation in with_noun:
        assert relation.object_kind in kinds
        assert {k for k, w in relation.wordings.items() if w.noun} == set(ARTICLES), relation.id


def test_packaged_relations_with_past_prompts_have_them_in_every_language() -> None:
    with_past = [r for r in load_catalogue().values() if any(w.past for w in r.wordings.values())]
    assert len(with_past) >= 15
    for relation in with_past:
        assert all(wordings.past for wordings in relation.wordings.values()), relation.id
