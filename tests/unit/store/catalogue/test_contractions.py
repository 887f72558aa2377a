"""Putting a noun phrase in the place of a name."""

import pytest

from factd.store.catalogue.contractions import insert_phrase, takes_phrase


@pytest.mark.parametrize(
    ("language", "wording", "phrase", "sentence"),
    [
        ("en", "The currency of {} is the", "the land", "The currency of the land is the"),
        ("en", "{} is located in", "the land", "The land is located in"),
        ("es", "La moneda de {} se llama", "el país", "La moneda del país se llama"),
        ("es", "La entidad que emplea a {} es", "el rey", "La entidad que emplea al rey es"),
        ("es", "La carta de {} es", "la reina", "La carta de la reina es"),
        ("es", "Idea {} es", "el país", "Idea el país es"),
        ("ca", "La moneda de {} es diu", "el país", "La moneda del país es diu"),
        ("ca", "A {} es paga amb", "el país", "Al país es paga amb"),
        ("ca", "El cotxe fet per {} es diu", "el rei", "El cotxe fet pel rei es diu"),
        ("ca", "La seu de {} és a", "l'equip", "La seu de l'equip és a"),
        ("fr", "La monnaie de {} s'appelle", "le pays", "La monnaie du pays s'appelle"),
        ("fr", "L'argent de {} s'appelle", "les îles", "L'argent des îles s'appelle"),
        ("fr", "À {} on paie avec", "le pays", "Au pays on paie avec"),
        ("fr", "Une lettre à {} part vers", "les îles", "Une lettre aux îles part vers"),
        ("fr", "En {} on paie avec", "le pays", "Dans le pays on paie avec"),
        ("it", "La moneta di {} è", "il paese", "La moneta del paese è"),
        ("it", "Il capo di {} è", "lo Stato", "Il capo dello Stato è"),
        ("it", "Il posto in {} è", "la lista", "Il posto nella lista è"),
        ("it", "Il record tenuto da {} è", "l'atleta", "Il record tenuto dall'atleta è"),
        ("it", "La legge su {} è", "gli orari", "La legge sugli orari è"),
        ("it", "La lettera a {} è", "i capi", "La lettera ai capi è"),
        ("pt", "A moeda de {} chama-se", "o país", "A moeda do país chama-se"),
        ("pt", "Em {} paga-se com", "a cidade", "Na cidade paga-se com"),
        ("pt", "O recorde detido por {} é", "o rei", "O recorde detido pelo rei é"),
        ("pt", "Uma carta a {} vai para", "a rainha", "Uma carta à rainha vai para"),
    ],
)
def test_a_preposition_contracts_with_the_article_of_a_phrase(
    language: str, wording: str, phrase: str, sentence: str
) -> None:
    assert insert_phrase(wording, phrase, language) == sentence


@pytest.mark.parametrize(
    ("language", "wording", "phrase", "sentence"),
    [
        ("en", "The company {} was founded by", "the maker", "The maker was founded by"),
        (
            "es",
            "El capitán del equipo {} es",
            "el equipo de Ana",
            "El capitán del equipo de Ana es",
        ),
        ("es", "En la ciudad de {} hay", "la capital", "En la capital hay"),
        ("es", "Las letras del {} son", "la lengua oficial", "Las letras de la lengua oficial son"),
        ("fr", "L'équipe {} a pour chef", "l'équipe d'Ana", "L'équipe d'Ana a pour chef"),
        ("it", "Nell'azienda {} il capo è", "la società madre", "Nella società madre il capo è"),
        ("pt", "Na empresa {} o chefe é", "a empresa-mãe", "Na empresa-mãe o chefe é"),
    ],
)
def test_a_phrase_replaces_the_name_and_the_words_for_its_kind(
    language: str, wording: str, phrase: str, sentence: str
) -> None:
    assert insert_phrase(wording, phrase, language) == sentence


def test_words_that_are_not_a_kind_stay_before_the_phrase() -> None:
    assert insert_phrase("El equipo de {} es", "el rey", "es") == "El equipo del rey es"


def test_after_serving_as_only_a_title_can_stand() -> None:
    assert takes_phrase("The office of {} is held today by", "en")
    assert not takes_phrase("The person serving now as {} is called", "en")
    assert not takes_phrase("The {} language is written in the script", "en")
    assert not takes_phrase("Die Währung von {} heißt", "de")
