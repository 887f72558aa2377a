"""A noun phrase in the place of a name, pure: "the country of the city of Zagreb" becomes the subject of a wording.

Three things change. What a wording says its subject is goes ("the company {}", "la ciudad de {}"), since the phrase says
it itself; a preposition contracts with the phrase's article ("de el" → "del"); and the phrase gets a capital where it
opens the sentence. German is left out: its nouns decline.
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
# language -> preposition and article -> what they become
CONTRACTIONS: Mapping[str, Mapping[str, str]] = {
    "en": {},
    "es": {"de el": "del", "a el": "al"},
    "ca": {
        "de el": "del", "de els": "dels", "a el": "al", "a els": "als", "per el": "pel", "per els": "pels"
    },
    "fr": {
        "de le": "du", "de les": "des", "à le": "au", "à les": "aux",
        "en le": "dans le", "en la": "dans la", "en l'": "dans l'", "en les": "dans les",
    },
    "it": _ITALIAN,
    "pt": _PORTUGUESE | {"a o": "ao", "a os": "aos", "a a": "à", "a as": "às"},
}  # fmt: skip

# What wordings say that their subject is, before its name.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "en": ("the city of", "the office of", "the company", "the organization", "the team"),
    "es": (
        "la ciudad de", "el cargo de", "la empresa", "la entidad", "la institución", "el equipo", "el país", "el idioma",
        "el",
    ),
    "ca": (
        "la ciutat de", "el càrrec de", "l'empresa", "l'entitat", "la institució", "l'equip", "el país", "l'idioma",
        "la llengua",
    ),
    "fr": (
        "la ville de", "le poste de", "l'entreprise", "l'entité", "l'institution", "l'équipe", "le pays", "la langue",
    ),
    "it": (
        "la città di", "la carica di", "l'azienda", "l'ente", "l'istituzione", "la squadra", "il paese", "la lingua",
    ),
    "pt": (
        "a cidade de", "o cargo de", "a empresa", "a companhia", "a entidade", "a instituição", "a equipa", "o país",
        "a língua",
    ),
}  # fmt: skip

# Before these words a name or a title stands, and no phrase with an article.
_ONLY_NAMES: Mapping[str, tuple[str, ...]] = {
    "en": ("as", "the"),
    "es": ("como",),
    "ca": ("com a",),
    "fr": ("comme", "la fonction de"),
    "it": ("come", "la funzione di"),
    "pt": ("como", "a função de"),
}


def article(phrase: str, language: str) -> str:
    """The definite article that a phrase begins with; empty where there is none."""
    first = re.match(r"\w+'|\w+(?=\s)", phrase)
    return first[0] if first and first[0] in ARTICLES.get(language, ()) else ""


def takes_phrase(wording: str, language: str) -> bool:
    """Whether a noun phrase can stand where a wording has its subject: after "serving as" only a title can."""
    before = wording.partition("{}")[0]
    return language in ARTICLES and not any(
        _ends(before, words) for words in _ONLY_NAMES.get(language, ())
    )


def inserted(wording: str, phrase: str, language: str) -> str:
    """A wording about what a noun phrase names; ask `takes_phrase` first.

    wording: in its plain form, "La moneda de {} se llama"; phrase: begins with an article, "el país de la ciudad de
    Zagreb". Together: "La moneda del país de la ciudad de Zagreb se llama".
    """
    before, _, after = wording.partition("{}")
    text = _joined(_without_kind(before, language), phrase, language) + after
    return text[:1].upper() + text[1:]


def _joined(before: str, phrase: str, language: str) -> str:
    """Words and the phrase after them, contracted where they meet."""
    first = article(phrase, language)
    for pair, short in CONTRACTIONS.get(language, {}).items():
        preposition, _, contracted = pair.partition(" ")
        if contracted == first and _ends(before, preposition):
            kept = before[: len(before) - len(preposition) - 1]
            capital = before[len(kept)].isupper()
            return kept + (short.capitalize() if capital else short) + phrase[len(first) :]
    return before + phrase


def _without_kind(before: str, language: str) -> str:
    """The words before a subject, less those that say what kind of thing it is."""
    for kind in _KINDS.get(language, ()):
        for words, kept in _standing(kind, language).items():
            if _ends(before, words):
                return before[: len(before) - len(words) - 1] + kept
    return before


def _standing(kind: str, language: str) -> dict[str, str]:
    """How "el país" stands in a sentence, alone or contracted to "del país", and what stays of it: "de "."""
    first = article(f"{kind} ", language)
    contracted = {
        short + kind[len(first) :]: f"{pair.partition(' ')[0]} "
        for pair, short in CONTRACTIONS[language].items()
        if pair.partition(" ")[2] == first
    }
    return contracted | {kind: ""}


def _ends(before: str, words: str) -> bool:
    return f" {before.casefold()}".endswith(f" {words} ")
