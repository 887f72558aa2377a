"""What is wrong with a relation's wordings, pure: language, place of the subject, articles that would have to agree.

A wording ends where the object begins. An article there agrees with one object and not with the next; "de" before a
subject becomes "d'" before a vowel. Such wordings are refused unless they have a form for it or stand in `as_taught`,
the languages whose wordings a model was trained on word for word. The same holds for prompts about the past. A phrase
that names the object has to begin with a definite article: that is what a preposition before it contracts with.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from factd.store.catalogue.catalogue import Relation, Wordings
from factd.store.catalogue.contractions import ARTICLES as DEFINITE
from factd.store.catalogue.contractions import article

LANGUAGES = ("en", "es", "ca", "fr", "de", "it", "pt")
LEAST, LEAST_CHECKS = 4, 2
MARGIN = 1.0  # one word that only the other language has may be a name

_TABLE = tomllib.loads((Path(__file__).parent / "function_words.toml").read_text(encoding="utf-8"))


def _words(kind: str) -> Mapping[str, frozenset[str]]:
    return {language: frozenset(table[kind].split()) for language, table in _TABLE.items()}


ARTICLES, ELIDED, WORDS = _words("articles"), _words("elided"), _words("words")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    relation: str
    language: str
    wording: str  # empty: the language as a whole
    problem: str

    def __str__(self) -> str:
        where = f" {self.wording!r}" if self.wording else ""
        return f"{self.relation} {self.language}:{where} {self.problem}"


def findings(relation: Relation, languages: tuple[str, ...] = LANGUAGES) -> list[Finding]:
    """What is wrong with one relation; languages: those that it must have."""
    found = [
        Finding(relation=relation.id, language=language, wording="", problem="has no wordings")
        for language in languages
        if language not in relation.wordings
    ]
    for language, wordings in relation.wordings.items():
        taught = language in relation.as_taught
        problems = [*_problems(wordings, language, taught=taught)]
        if relation.many and (wordings.past or wordings.noun):
            problems.append(("", "has several objects at a time; past and noun need one"))
        for wording, problem in problems:
            found.append(
                Finding(relation=relation.id, language=language, wording=wording, problem=problem)
            )
    return found


def _problems(wordings: Wordings, language: str, *, taught: bool) -> Iterator[tuple[str, str]]:
    if len(wordings.all) < LEAST or len(wordings.check) < LEAST_CHECKS:
        yield "", f"needs {LEAST} wordings, {LEAST_CHECKS} of them to check"
    said = (*wordings.all, *wordings.past)
    if len({w.casefold() for w in said}) < len(said):
        yield "", "says the same twice"
    for wording in wordings.all:
        yield from _of_wording(wording, wordings, language, taught)
    for wording in wordings.past:  # no model was taught these
        yield from _of_wording(wording, wordings, language, False)
    if wordings.noun:
        yield from _of_noun(wordings, language)


def _of_wording(
    wording: str, wordings: Wordings, language: str, taught: bool
) -> Iterator[tuple[str, str]]:
    for form in _forms(wording, wordings):
        yield from ((form, problem) for problem in _of_form(form, language, taught))
    if not taught:
        yield from _unelided(wording, wordings, language)


def _of_noun(wordings: Wordings, language: str) -> Iterator[tuple[str, str]]:
    for form in _forms(wordings.noun, wordings):
        yield from ((form, problem) for problem in _of_phrase(form, language))
    yield from _unelided(wordings.noun, wordings, language)


def _forms(wording: str, wordings: Wordings) -> tuple[str, ...]:
    """A wording, and the form that it has before a vowel."""
    return (wording, wordings.vowel[wording]) if wording in wordings.vowel else (wording,)


def _of_phrase(phrase: str, language: str) -> Iterator[str]:
    first = article(phrase, language)
    if language not in DEFINITE:
        yield f"cannot stand in another wording of {language}; leave the noun out"
    elif not first:
        yield "must begin with a definite article in lower case"
    elif not phrase.replace("{}", "").removeprefix(first).strip():
        yield "says nothing but the subject"
    if other := _other_language(phrase, language):
        yield f"reads like {other}"


def _of_form(form: str, language: str, taught: bool) -> Iterator[str]:
    wording = form.replace("{year}", "")
    before, _, after = wording.partition("{}")
    if not after.strip():
        yield "ends with the subject; the object must follow other words"
    if not (before + after).strip(" ?.!:"):
        yield "says nothing but the subject"
    last = re.split(r"[\s:]+", after.casefold().strip())[-1] if after.strip() else ""
    if last in ARTICLES.get(language, ()) and not taught:
        yield f"ends with {last!r}, which would have to agree with the object"
    other = _other_language(wording, language)
    if other:
        yield f"reads like {other}"


def _unelided(wording: str, wordings: Wordings, language: str) -> Iterator[tuple[str, str]]:
    if wording not in wordings.vowel and (word := _elided(wording, language)):
        yield wording, f"{word!r} changes before a vowel; give {{ plain = …, vowel = … }}"


def _elided(wording: str, language: str) -> str:
    """The word before the subject that would lose its vowel; empty where there is none."""
    words = wording.partition("{}")[0].casefold().split()
    return words[-1] if words and words[-1] in ELIDED.get(language, ()) else ""


def _other_language(wording: str, language: str) -> str:
    """Another language whose function words explain a wording better; empty where its own does best."""
    words = re.findall(r"[^\W\d_]+(?:['-][^\W\d_]+)*", wording.replace("{}", " ").casefold())
    words = [part for word in words for part in _parts(word)]
    scores = {
        k: sum(1 / sum(w in v for v in WORDS.values()) for w in words if w in own)
        for k, own in WORDS.items()
    }
    best = max(scores, key=lambda k: scores[k])
    return best if language in scores and scores[best] > scores[language] + MARGIN else ""


def _parts(word: str) -> list[str]:
    """A word as it stands, and what an apostrophe joins."""
    return [word, *word.split("'")] if "'" in word else [word]
