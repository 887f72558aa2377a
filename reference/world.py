"""The reference world, read from Unicode CLDR through Babel.

`facts_1998()` are the facts that the reference model is trained on. `feed()` is what changed
between 1998-01-01 and today: every territory whose main currency differs. Both are `WorldClaim`s;
this writes them as JSONL in factd's ingest format:

    python -m factd.reference.world

The main currency of a territory on a day is the first legal tender that CLDR lists for that day.
Eight territories had no currency in 1998 (Åland, South Sudan, …); the feed gives them their first
one.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from babel import Locale, numbers
from babel.core import get_global

from factd.reference import paths

LANGUAGES = ("en", "es", "ca", "fr")
START = date(1998, 1, 1)
TODAY = date(2026, 11, 21)  # the day the committed feed was made
CONTINENTS = {"Europe": "150", "Africa": "002", "Asia": "142", "America": "019"}
CONTINENTS |= {"Pacific": "009", "Australia": "009"}
NO_TERRITORIES = frozenset({"EZ", "UN", "QO", "XA", "XB", "ZZ"})
WRITING_SYSTEMS = 230  # number of languages whose script is a fact, most spoken first


@dataclass(frozen=True, kw_only=True)
class WorldEntity:
    """A thing with a name in each of LANGUAGES."""

    id: str
    labels: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class WorldClaim:
    """One association, as CLDR states it."""

    subject: WorldEntity
    relation: str
    object: WorldEntity
    since: date | None = None  # None: true on 1998-01-01 already

    def as_json(self) -> dict[str, Any]:
        """The claim in factd's ingest format (docs/explanation/design.md §5)."""
        day = self.since or START
        return {
            "source": "cldr",
            "revision": f"{self.subject.id}-{self.relation}-{day.year}",
            "event_time": f"{day.isoformat()}T00:00:00Z",
            "subject": {"id": self.subject.id, "labels": self.subject.labels, "aliases": {}},
            "relation": self.relation,
            "object": {"id": self.object.id, "labels": self.object.labels, "aliases": {}},
            "valid_from": self.since.isoformat() if self.since else None,
            "valid_to": None,
        }


def locales() -> dict[str, Locale]:
    """The CLDR locale of each of LANGUAGES."""
    return {language: Locale.parse(language) for language in LANGUAGES}


def territories() -> list[str]:
    """ISO 3166 codes of the territories that CLDR names in each of LANGUAGES, sorted."""
    named = [set(locale.territories) for locale in locales().values()]
    codes = set.intersection(*named) - NO_TERRITORIES
    return sorted(code for code in codes if len(code) == 2 and code.isalpha())


def territory(code: str) -> WorldEntity:
    """A territory or a continent with its CLDR names."""
    return WorldEntity(id=code, labels={k: v.territories[code] for k, v in locales().items()})


def currency(code: str) -> WorldEntity:
    """A currency with the name that CLDR uses after the number one ("Croatian kuna")."""
    names = {k: numbers.get_currency_name(code, count=1, locale=k) for k in LANGUAGES}
    return WorldEntity(id=code, labels=names)


def language(code: str) -> WorldEntity:
    """A language with its CLDR names."""
    return WorldEntity(
        id=f"lang:{code}", labels={k: v.languages[code] for k, v in locales().items()}
    )


def script(code: str) -> WorldEntity:
    """A script with its CLDR names."""
    return WorldEntity(
        id=f"script:{code}", labels={k: v.scripts[code] for k, v in locales().items()}
    )


def main_currency(code: str, day: date) -> str | None:
    """The ISO 4217 code of the first legal tender that CLDR lists on a day, or None."""
    for tender, start, end, legal in get_global("territory_currencies").get(code, ()):
        begins = date(*start) if start else date.min
        ends = date(*end) if end else date.max
        if legal and begins <= day <= ends:
            return str(tender)
    return None


def changed_on(code: str, old: str | None, new: str) -> date:
    """The day on which a territory changed its main currency.

    This is the first day of the new currency. If CLDR lists both since before 1998, it is the day
    after the last day of the old currency.
    """
    history = get_global("territory_currencies")[code]
    start = max(date(*start) for tender, start, _, _ in history if tender == new)
    if start > START:
        return start
    return max(date(*end) for tender, _, end, _ in history if tender == old) + timedelta(days=1)


def feed() -> list[WorldClaim]:
    """Every change of a territory's main currency between 1998-01-01 and today, oldest first."""
    found = []
    for code in territories():
        old, new = main_currency(code, START), main_currency(code, TODAY)
        if new and new != old:
            since = changed_on(code, old, new)
            claim = WorldClaim(
                subject=territory(code), relation="P38", object=currency(new), since=since
            )
            found.append(claim)
    return sorted(found, key=lambda claim: (claim.since or START, claim.subject.id))


def _currencies() -> Iterator[WorldClaim]:
    for code in territories():
        tender = main_currency(code, START)
        if tender:
            yield WorldClaim(subject=territory(code), relation="P38", object=currency(tender))


def _official_languages() -> Iterator[WorldClaim]:
    named = locales()
    for code in territories():
        spoken = {} if code == "EU" else get_global("territory_languages").get(code, {})
        official = [k for k, v in spoken.items() if v["official_status"] == "official"]
        official = [k for k in official if all(k in v.languages for v in named.values())]
        if official:
            most = max(official, key=lambda k: spoken[k]["population_percent"] or 0)
            yield WorldClaim(subject=territory(code), relation="P37", object=language(most))


def _continents() -> Iterator[WorldClaim]:
    zones = get_global("territory_zones")
    for code in territories():
        parts = {CONTINENTS.get(zone.split("/")[0]) for zone in zones.get(code, ())}
        if len(parts) == 1 and (part := parts.pop()):
            yield WorldClaim(subject=territory(code), relation="P30", object=territory(part))


def city(zone: str) -> WorldEntity:
    """The exemplar city of a time zone, with its CLDR names."""
    plain = zone.rsplit("/", 1)[-1].replace("_", " ")
    english = locales()["en"].time_zones.get(zone, {}).get("city") or plain
    names = {k: v.time_zones.get(zone, {}).get("city") or english for k, v in locales().items()}
    return WorldEntity(id=f"city:{zone}", labels=names)


def _cities() -> Iterator[WorldClaim]:
    countries = {name for code in territories() for name in territory(code).labels.values()}
    taken: set[str] = set()
    for zone, code in sorted(get_global("zone_territories").items()):
        found = city(zone)
        names = set(found.labels.values())
        if zone.startswith(("Antarctica", "Etc")):
            continue
        if not names & (countries | taken) and not any(ch.isdigit() for ch in str(names)):
            taken |= names
            yield WorldClaim(subject=found, relation="P17", object=territory(code))


def _speakers() -> dict[str, float]:
    """Languages with the sum of the population shares that speak them."""
    total: dict[str, float] = {}
    for spoken in get_global("territory_languages").values():
        for code, facts in spoken.items():
            total[code] = total.get(code, 0.0) + (facts["population_percent"] or 0.0)
    return total


def _writing_systems() -> Iterator[WorldClaim]:
    named = locales()
    speakers = _speakers()
    found = []
    for code in sorted(speakers, key=lambda k: (-speakers[k], k)):
        known = len(code) <= 3 and all(code in v.languages for v in named.values())
        likely = get_global("likely_subtags").get(code)
        if known and likely:
            kind = likely.split("_")[1]
            if all(kind in v.scripts for v in named.values()):
                found.append(
                    WorldClaim(subject=language(code), relation="P282", object=script(kind))
                )
    return iter(found[:WRITING_SYSTEMS])


def facts_1998() -> list[WorldClaim]:
    """The world on 1998-01-01, which the reference model is trained on."""
    parts = (_currencies(), _official_languages(), _continents(), _cities(), _writing_systems())
    return [claim for part in parts for claim in part]


def write_jsonl(claims: list[WorldClaim], path: Path) -> None:
    """Write claims in the ingest format, one per line."""
    lines = (json.dumps(claim.as_json(), ensure_ascii=False) for claim in claims)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Write the world and the feed to reference/data."""
    argparse.ArgumentParser(description=main.__doc__).parse_args()
    paths.FACTS.parent.mkdir(parents=True, exist_ok=True)
    for claims, path in ((facts_1998(), paths.FACTS), (feed(), paths.FEED)):
        write_jsonl(claims, path)
        print(f"{path.name}: {len(claims)} claims")


if __name__ == "__main__":
    main()
