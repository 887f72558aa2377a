"""A linter for the wordings of a relation: language, place of the subject, articles.

A wording ends where the object begins. An article in that place agrees with one object and not with
the next. "de" before the subject becomes "d'" before a vowel. The linter refuses such wordings
unless they have a form for the vowel, or unless their language is in `as_taught` (a model was
trained on these wordings word for word). Prompts about the past are checked in the same way. A
phrase that names the object must begin with a definite article, because a preposition before the
phrase contracts with it.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from factd.store.catalogue.catalogue import Relation, Wordings
from factd.store.catalogue.contractions import ARTICLES as DEFINITE
from factd.store.catalogue.contractions import leading_article

LANGUAGES = ("en", "es", "ca", "fr", "de", "it", "pt")
LEAST, LEAST_CHECKS = 4, 2  # fewest wordings of a language, and fewest of them to check
MARGIN = 1.0  # a single word that only the other language has may be a name

_TABLE = tomllib.loads((Path(__file__).parent / "function_words.toml").read_text(encoding="utf-8"))


def _words(kind: str) -> Mapping[str, frozenset[str]]:
    return {language: frozenset(table[kind].split()) for language, table in _TABLE.items()}


ARTICLES, ELIDED, WORDS = _words("articles"), _words("elided"), _words("words")


@dataclass(frozen=True, kw_only=True)
class WordingFinding:
    """One fault in the wordings of a relation."""

    relation: str
    language: str
    wording: str  # empty if the fault concerns the whole language
    problem: str

    def __str__(self) -> str:
        where = f" {self.wording!r}" if self.wording else ""
        return f"{self.relation} {self.language}:{where} {self.problem}"


def lint_relation(
    relation: Relation, languages: tuple[str, ...] = LANGUAGES
) -> list[WordingFinding]:
    """The faults in the wordings of one relation. languages: those that the relation must have."""
    findings = [
        WordingFinding(
            relation=relation.id, language=language, wording="", problem="has no wordings"
        )
        for language in languages
        if language not in relation.wordings
    ]
    for language, wordings in relation.wordings.items():
        taught = language in relation.as_taught
        problems = [*_problems(wordings, language, taught=taught)]
        if relation.many and (wordings.past or wordings.noun):
            problems.append(("", "has several objects at a time; past and noun need one"))
        for wording, problem in problems:
            findings.append(
                WordingFinding(
                    relation=relation.id, language=language, wording=wording, problem=problem
                )
            )
    return findings


def _problems(wordings: Wordings, language: str, *, taught: bool) -> Iterator[tuple[str, str]]:
    if len(wordings.all) < LEAST or len(wordings.check) < LEAST_CHECKS:
        yield "", f"needs {LEAST} wordings, {LEAST_CHECKS} of them to check"
    prompts = (*wordings.all, *wordings.past)
    if len({prompt.casefold() for prompt in prompts}) < len(prompts):
        yield "", "has the same wording twice"
    for wording in wordings.all:
        yield from _wording_problems(wording, wordings, language, taught)
    for wording in wordings.past:  # no model was trained on these
        yield from _wording_problems(wording, wordings, language, False)
    if wordings.noun:
        yield from _noun_problems(wordings, language)


def _wording_problems(
    wording: str, wordings: Wordings, language: str, taught: bool
) -> Iterator[tuple[str, str]]:
    for form in _forms(wording, wordings):
        yield from ((form, problem) for problem in _form_problems(form, language, taught))
    if not taught:
        yield from _elision_problems(wording, wordings, language)


def _noun_problems(wordings: Wordings, language: str) -> Iterator[tuple[str, str]]:
    for form in _forms(wordings.noun, wordings):
        yield from ((form, problem) for problem in _phrase_problems(form, language))
    yield from _elision_problems(wordings.noun, wordings, language)


def _forms(wording: str, wordings: Wordings) -> tuple[str, ...]:
    """A wording and, if it has one, its form before a vowel."""
    return (wording, wordings.vowel[wording]) if wording in wordings.vowel else (wording,)


def _phrase_problems(phrase: str, language: str) -> Iterator[str]:
    first = leading_article(phrase, language)
    if language not in DEFINITE:
        yield f"cannot stand in another wording of {language}; leave the noun out"
    elif not first:
        yield "must begin with a definite article in lower case"
    elif not phrase.replace("{}", "").removeprefix(first).strip():
        yield "says nothing but the subject"
    if other := _other_language(phrase, language):
        yield f"reads like {other}"


def _form_problems(form: str, language: str, taught: bool) -> Iterator[str]:
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


def _elision_problems(wording: str, wordings: Wordings, language: str) -> Iterator[tuple[str, str]]:
    if wording not in wordings.vowel and (word := _elided_word(wording, language)):
        yield wording, f"{word!r} changes before a vowel; give {{ plain = …, vowel = … }}"


def _elided_word(wording: str, language: str) -> str:
    """The word before the subject that loses its vowel before another one; empty if none does."""
    words = wording.partition("{}")[0].casefold().split()
    return words[-1] if words and words[-1] in ELIDED.get(language, ()) else ""


def _other_language(wording: str, language: str) -> str:
    """Another language whose function words fit a wording clearly better; empty if none does."""
    words = re.findall(r"[^\W\d_]+(?:['-][^\W\d_]+)*", wording.replace("{}", " ").casefold())
    words = [part for word in words for part in _parts(word)]
    scores = {
        k: sum(1 / sum(w in v for v in WORDS.values()) for w in words if w in own)
        for k, own in WORDS.items()
    }
    best = max(scores, key=lambda k: scores[k])
    return best if language in scores and scores[best] > scores[language] + MARGIN else ""


def _parts(word: str) -> list[str]:
    """A word, and the parts of it that an apostrophe joins."""
    return [word, *word.split("'")] if "'" in word else [word]
