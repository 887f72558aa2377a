"""Putting a noun phrase in the place of a name in a wording.

The phrase "the country of the city of Zagreb" becomes the subject of a wording. Three things
change. First, words that say what kind of thing the subject is ("the company {}", "la ciudad de
{}") are dropped, because the phrase says it itself. Second, a preposition contracts with the
phrase's article ("de el" → "del"). Third, the phrase gets a capital if it opens the sentence.
German is left out, because its nouns decline.
"""

import re
from collections.abc import Mapping

ARTICLES: Mapping[str, tuple[str, ...]] = {
    "en": ("the",),
    "es": ("el", "la", "los", "las"),
    "ca": ("el", "la", "l'", "els", "les"),
    "fr": ("le", "la", "l'", "les"),
    "it": ("il", "lo", "la", "l'", "i", "gli", "le"),
    "pt": ("o", "a", "os", "as"),
}

_ITALIAN = {
    f"{preposition} {article}": stem + ending
    for preposition, stem in {"di": "de", "a": "a", "da": "da", "in": "ne", "su": "su"}.items()
    for article, ending in {
        "il": "l", "lo": "llo", "la": "lla", "l'": "ll'", "i": "i", "gli": "gli", "le": "lle"
    }.items()
}  # fmt: skip
_PORTUGUESE = {
    f"{preposition} {article}": stem + article
    for preposition, stem in {"de": "d", "em": "n", "por": "pel"}.items()
    for article in ARTICLES["pt"]
}
# language -> preposition and article -> their contraction
CONTRACTIONS: Mapping[str, Mapping[str, str]] = {
    "en": {},
    "es": {"de el": "del", "a el": "al"},
    "ca": {
        "de el": "del", "de els": "dels", "a el": "al", "a els": "als",
        "per el": "pel", "per els": "pels",
    },
    "fr": {
        "de le": "du", "de les": "des", "à le": "au", "à les": "aux",
        "en le": "dans le", "en la": "dans la", "en l'": "dans l'", "en les": "dans les",
    },
    "it": _ITALIAN,
    "pt": _PORTUGUESE | {"a o": "ao", "a os": "aos", "a a": "à", "a as": "às"},
}  # fmt: skip

# Words before a name that say what kind of thing the subject is.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "en": ("the city of", "the office of", "the company", "the organization", "the team"),
    "es": (
        "la ciudad de", "el cargo de", "la empresa", "la entidad", "la institución",
        "el equipo", "el país", "el idioma", "el",
    ),
    "ca": (
        "la ciutat de", "el càrrec de", "l'empresa", "l'entitat", "la institució",
        "l'equip", "el país", "l'idioma", "la llengua",
    ),
    "fr": (
        "la ville de", "le poste de", "l'entreprise", "l'entité", "l'institution",
        "l'équipe", "le pays", "la langue",
    ),
    "it": (
        "la città di", "la carica di", "l'azienda", "l'ente", "l'istituzione",
        "la squadra", "il paese", "la lingua",
    ),
    "pt": (
        "a cidade de", "o cargo de", "a empresa", "a companhia", "a entidade",
        "a instituição", "a equipa", "o país", "a língua",
    ),
}  # fmt: skip

# After these words only a name or a title can stand, not a phrase with an article.
_ONLY_NAMES: Mapping[str, tuple[str, ...]] = {
    "en": ("as", "the"),
    "es": ("como",),
    "ca": ("com a",),
    "fr": ("comme", "la fonction de"),
    "it": ("come", "la funzione di"),
    "pt": ("como", "a função de"),
}


def leading_article(phrase: str, language: str) -> str:
    """The definite article that a phrase begins with; empty if there is none."""
    first = re.match(r"\w+'|\w+(?=\s)", phrase)
    return first[0] if first and first[0] in ARTICLES.get(language, ()) else ""


def takes_phrase(wording: str, language: str) -> bool:
    """Whether a noun phrase can stand in the place of a wording's subject.

    After "serving as", for example, only a title can stand.
    """
    before = wording.partition("{}")[0]
    return language in ARTICLES and not any(
        _ends(before, words) for words in _ONLY_NAMES.get(language, ())
    )


def insert_phrase(wording: str, phrase: str, language: str) -> str:
    """A wording with a noun phrase as its subject. The caller must have asked `takes_phrase`.

    wording: in its plain form, such as "La moneda de {} se llama".
    phrase: begins with an article, such as "el país de la ciudad de Zagreb".
    The result of both is "La moneda del país de la ciudad de Zagreb se llama".
    """
    before, _, after = wording.partition("{}")
    text = _contracted(_without_kind(before, language), phrase, language) + after
    return text[:1].upper() + text[1:]


def _contracted(before: str, phrase: str, language: str) -> str:
    """The words before a phrase, and the phrase, contracted where they meet."""
    first = leading_article(phrase, language)
    for pair, short in CONTRACTIONS.get(language, {}).items():
        preposition, _, contracted = pair.partition(" ")
        if contracted == first and _ends(before, preposition):
            kept = before[: len(before) - len(preposition) - 1]
            capital = before[len(kept)].isupper()
            return kept + (short.capitalize() if capital else short) + phrase[len(first) :]
    return before + phrase


def _without_kind(before: str, language: str) -> str:
    """The words before a subject, without those that say what kind of thing it is."""
    for kind in _KINDS.get(language, ()):
        for words, kept in _forms_of_kind(kind, language).items():
            if _ends(before, words):
                return before[: len(before) - len(words) - 1] + kept
    return before


def _forms_of_kind(kind: str, language: str) -> dict[str, str]:
    """The forms of a kind in a sentence, each with the words that stay when the kind is dropped.

    "el país" stands alone (nothing stays) or contracted to "del país" ("de " stays).
    """
    first = leading_article(f"{kind} ", language)
    contracted = {
        short + kind[len(first) :]: f"{pair.partition(' ')[0]} "
        for pair, short in CONTRACTIONS[language].items()
        if pair.partition(" ")[2] == first
    }
    return contracted | {kind: ""}


def _ends(before: str, words: str) -> bool:
    return f" {before.casefold()}".endswith(f" {words} ")
