"""The relation catalogue: how a fact is said in each language. One TOML file per relation.

A language has `edit` and `check`, and two keys that may be missing: `past`, prompts about a year, "In {year} the currency
of {} was the"; and `noun`, a phrase that names the object through its subject, "the country of the city of {}", to be the
subject of another relation's wording (see store/catalogue/contractions.py).
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from factd.store.errors import BadRelation

PACKAGED = Path(__file__).parent / "relations"
KINDS = ("edit", "check", "past", "noun")  # the keys of a language

VOWELS = frozenset("aeiouàáâäãåæèéêëìíîïòóôöõœùúûü")


@dataclass(frozen=True, kw_only=True)
class Wordings:
    """Prompts of one relation in one language. Each holds "{}" once, for the subject, and ends where the object starts."""

    edit: tuple[str, ...]  # facts are written with these
    check: tuple[str, ...]  # only checks use these
    past: tuple[str, ...] = ()  # hold "{year}" once too; only a check of the past uses these
    noun: str = ""  # names the object through its subject: "the capital of {}"
    vowel: Mapping[str, str] = field(default_factory=dict)  # the form of some before a vowel: d'{}

    @property
    def all(self) -> tuple[str, ...]:
        """What is said of today: to edit and to check."""
        return *self.edit, *self.check

    def before(self, wording: str, name: str) -> str:
        """The form that a wording has before a name."""
        begins = name.casefold()[:1] in VOWELS
        return self.vowel.get(wording, wording) if begins else wording

    def in_year(self, wording: str, name: str, year: int) -> str:
        """A prompt about a name in a year of the past, of a wording of `past`."""
        return self.before(wording, name).replace("{year}", str(year)).replace("{}", name)

    def named(self, name: str) -> str:
        """The phrase that names the object of a name, "the capital of Croatia"; empty where there is no `noun`."""
        return self.before(self.noun, name).replace("{}", name)


@dataclass(frozen=True, kw_only=True)
class Relation:
    """One relation of the catalogue."""

    id: str  # Wikidata's, "P38"
    name: str
    many: bool  # a subject may have several objects at a time
    subject_kind: str
    object_kind: str
    wordings: Mapping[str, Wordings]  # language -> prompts
    as_taught: tuple[
        str, ...
    ] = ()  # languages whose wordings a model was trained on, word for word


Catalogue = Mapping[str, Relation]
Forms = list[tuple[str, str]]  # (plain, before a vowel; empty where it has no such form)


def load_catalogue(*folders: Path) -> Catalogue:
    """Relations by id: the packaged ones, then those of the given folders, later ones replacing earlier ones.

    Raises: BadRelation: names the file and what is wrong with it.
    """
    found = dict(packaged())
    for folder in folders:
        found |= load_folder(folder)
    return found


@cache
def packaged() -> Catalogue:
    """The packaged relations by id, read once in a process."""
    return load_folder(PACKAGED)


def load_folder(folder: Path) -> dict[str, Relation]:
    """The relations of one folder by id. Raises: BadRelation."""
    if not folder.is_dir():
        raise BadRelation(f"{folder} is no folder; name one that holds relations as TOML files")
    relations = [read_relation(path) for path in sorted(folder.glob("*.toml"))]
    return {relation.id: relation for relation in relations}


def read_relation(path: Path) -> Relation:
    """One relation from its file. Raises: BadRelation."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        cardinality = data["cardinality"]
        relation = Relation(
            id=data["id"],
            name=data["name"],
            many=cardinality == "many",
            subject_kind=data["subject_kind"],
            object_kind=data["object_kind"],
            wordings={k: _wordings(path, k, v) for k, v in data["wordings"].items()},
            as_taught=tuple(data.get("as_taught", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRelation(f"{path}: {error!r}; see P38.toml for a complete file") from error
    if cardinality not in ("one", "many"):
        raise BadRelation(f"{path}: cardinality must be 'one' or 'many', not {cardinality!r}")
    return relation


def _wordings(path: Path, language: str, table: Mapping[str, Any]) -> Wordings:
    forms = _forms_by_kind(table)
    plain = {kind: tuple(form for form, _ in pairs) for kind, pairs in forms.items()}
    if fault := _fault(forms) or _mixed_up(plain) or _unknown(table):
        raise BadRelation(f"{path}: {language} {fault}")
    return Wordings(
        edit=plain["edit"],
        check=plain["check"],
        past=plain["past"],
        noun="".join(plain["noun"]),
        vowel={form: vowel for pairs in forms.values() for form, vowel in pairs if vowel},
    )


def _forms_by_kind(table: Mapping[str, Any]) -> dict[str, Forms]:
    noun = [table["noun"]] if "noun" in table else []
    listed = {**table, "past": table.get("past", ()), "noun": noun}
    return {kind: [_forms(item) for item in listed[kind]] for kind in KINDS}


def _forms(item: Any) -> tuple[str, str]:
    """(plain, before a vowel) of a wording: a text, or a table with both."""
    if isinstance(item, str):
        return item, ""
    return str(item["plain"]), str(item["vowel"])


def _mixed_up(plain: Mapping[str, tuple[str, ...]]) -> str:
    """What is wrong with the wordings of a language together; empty where nothing is."""
    edit, check, past = plain["edit"], plain["check"], plain["past"]
    if len(edit) < 1 or len(check) < 2:
        return "needs a wording to edit and two to check"
    if set(edit) & set(check):
        return "checks with a wording it edits with"
    if len(set(past)) < len(past):
        return "says the past twice with one wording"
    return ""


def _fault(forms: Mapping[str, Forms]) -> str:
    """What is wrong with one wording, named; empty where nothing is."""
    for kind, pairs in forms.items():
        years = 1 if kind == "past" else 0
        for text in (form for pair in pairs for form in _given(pair)):
            if text.count("{}") != 1 or text != text.strip():
                return f"{kind}: {text!r} must hold {{}} once and have no space around"
            if text.count("{year}") != years:
                return f"{kind}: {text!r} must hold {{year}} {'once' if years else 'never'}"
    return ""


def _given(pair: tuple[str, str]) -> tuple[str, ...]:
    return pair if pair[1] else pair[:1]


def _unknown(table: Mapping[str, Any]) -> str:
    unknown = sorted(set(table) - set(KINDS))
    return f"has unknown keys: {', '.join(unknown)}" if unknown else ""
