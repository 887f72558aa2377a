"""Facts that most language models know, as candidates for tuning.

They are asked of a model, and those that it answers right are the facts that its settings are
searched on. Some come from Unicode CLDR through Babel, in every language of the catalogue:
territory → currency, official language, continent, and language → script. The others are a list in
English (common_facts.toml).
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from babel import Locale, UnknownLocaleError, numbers
from babel.core import get_global

from factd.store.catalogue.catalogue import Catalogue

LISTED = Path(__file__).with_name("common_facts.toml")
LISTED_LANGUAGE = "en"
DAY = date(2020, 1, 1)  # the world of that day: models know it, and it does not change
CONTINENTS = {"Europe": "150", "Africa": "002", "Asia": "142"}  # time zones -> CLDR's territories
LANGUAGES_ASKED = 60  # whose script is a fact, most spoken first


@dataclass(frozen=True, kw_only=True)
class CommonFact:
    """A fact in the words of one language, with the prompts that ask for it."""

    subject: str
    object: str
    language: str  # BCP 47
    prompts: tuple[str, ...]  # each holds "{}" once; the first one is edited


def common_facts(catalogue: Catalogue, language: str) -> tuple[CommonFact, ...]:
    """The common facts in a language: of the catalogue's relations, and in English the list too.

    A relation without wordings in the language gives none.
    """
    rows = [*_of_cldr(language), *(_listed() if language == LISTED_LANGUAGE else ())]
    found: dict[tuple[str, str], CommonFact] = {}
    for relation, prompts, subject, object_ in rows:
        known = catalogue[relation].wordings.get(language) if relation in catalogue else None
        asked = prompts or (tuple(known.form_for(w, subject) for w in known.all) if known else ())
        if asked:
            fact = CommonFact(subject=subject, object=object_, language=language, prompts=asked)
            found.setdefault((subject, asked[0]), fact)
    return tuple(found.values())


Row = tuple[str, tuple[str, ...], str, str]  # relation or "", its own prompts, subject, object


@cache
def _listed() -> tuple[Row, ...]:
    data: dict[str, Any] = tomllib.loads(LISTED.read_text(encoding="utf-8"))
    return tuple(
        (group.get("relation", ""), tuple(group.get("wordings", ())), subject, object_)
        for group in data["group"]
        for subject, object_ in group["facts"]
    )


def _of_cldr(language: str) -> Iterator[Row]:
    try:
        locale = Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError):
        return
    names = {str(code): str(name) for code, name in locale.territories.items()}
    for code in sorted(code for code in names if len(code) == 2 and code.isalpha()):
        name = names[code]
        for relation, object_ in (
            ("P38", _currency(code, locale)),
            ("P37", _official_language(code, locale)),
            ("P30", _continent(code, locale)),
        ):
            if object_ and object_ != name:
                yield relation, (), name, object_
    yield from _scripts(locale)


def _currency(code: str, locale: Locale) -> str:
    """The territory's currency on DAY; empty if it has none, or several."""
    tenders = [
        tender
        for tender, start, end, legal in get_global("territory_currencies").get(code, ())
        if legal
        and (date(*start) if start else date.min) <= DAY <= (date(*end) if end else date.max)
    ]
    if len(tenders) != 1:
        return ""
    return str(numbers.get_currency_name(tenders[0], count=1, locale=locale))


def _official_language(code: str, locale: Locale) -> str:
    """The territory's one official language; empty if it has none, or several."""
    spoken = get_global("territory_languages").get(code, {})
    official = [k for k, v in spoken.items() if v["official_status"] == "official"]
    return str(locale.languages.get(official[0], "")) if len(official) == 1 else ""


def _continent(code: str, locale: Locale) -> str:
    """The territory's continent, from its time zones; empty if that is not certain."""
    zones = get_global("territory_zones").get(code, ())
    parts = {CONTINENTS.get(zone.split("/")[0], "") for zone in zones}
    part = parts.pop() if len(parts) == 1 else ""
    return str(locale.territories.get(part, ""))


def _scripts(locale: Locale) -> Iterator[Row]:
    speakers: dict[str, float] = {}
    for spoken in get_global("territory_languages").values():
        for code, about in spoken.items():
            speakers[code] = speakers.get(code, 0.0) + (about["population_percent"] or 0.0)
    order = sorted(speakers, key=lambda code: (-speakers[code], code))[:LANGUAGES_ASKED]
    for code in order:
        parts = (get_global("likely_subtags").get(code) or "").split("_")
        name, script = locale.languages.get(code), locale.scripts.get(parts[1]) if parts[1:] else ""
        if name and script:
            yield "P282", (), name, script
