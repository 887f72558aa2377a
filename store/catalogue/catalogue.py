"""The relation catalogue: how a fact is worded in each language. Each relation is one TOML file.

Each language of a relation has two keys, `edit` and `check`, and may have two more. `past` lists
prompts about a year, such as "In {year} the currency of {} was the". `noun` is a phrase that names
the object through its subject, such as "the country of the city of {}". The phrase becomes the
subject of another relation's wording (see `factd.store.catalogue.contractions`).
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
    """The prompts of one relation in one language.

    Each holds "{}" once, in the place of the subject, and ends where the object begins.
    """

    edit: tuple[str, ...]  # facts are written with these
    check: tuple[str, ...]  # only checks use these
    past: tuple[str, ...] = ()  # also hold "{year}" once; only the check of the past uses these
    noun: str = ""  # names the object through its subject: "the capital of {}"
    vowel: Mapping[str, str] = field(default_factory=dict)  # wording -> its form before a vowel

    @property
    def all(self) -> tuple[str, ...]:
        """The wordings about the present: those to edit with, then those to check with."""
        return *self.edit, *self.check

    def form_for(self, wording: str, name: str) -> str:
        """The form of a wording that fits a name; some have another form before a vowel."""
        is_vowel = name.casefold()[:1] in VOWELS
        return self.vowel.get(wording, wording) if is_vowel else wording

    def past_prompt(self, wording: str, name: str, year: int) -> str:
        """The prompt about a name in an earlier year. wording: one of `past`."""
        return self.form_for(wording, name).replace("{year}", str(year)).replace("{}", name)

    def noun_phrase(self, name: str) -> str:
        """The phrase that names the object through a name: "the capital of Croatia".

        Empty if the language has no `noun`.
        """
        return self.form_for(self.noun, name).replace("{}", name)


@dataclass(frozen=True, kw_only=True)
class Relation:
    """One relation of the catalogue."""

    id: str  # Wikidata's id, "P38"
    name: str
    many: bool  # a subject may have several objects at a time
    subject_kind: str
    object_kind: str
    wordings: Mapping[str, Wordings]  # language -> prompts
    as_taught: tuple[str, ...] = ()  # languages whose wordings a model was trained on verbatim


Catalogue = Mapping[str, Relation]
Forms = list[tuple[str, str]]  # (plain form, form before a vowel or "" if there is none)


def load_catalogue(*folders: Path) -> Catalogue:
    """The packaged relations and those of the given folders, by id.

    A relation in a later folder replaces an earlier one with the same id.
    Raises: BadRelation: the text names the file and its fault.
    """
    relations = dict(packaged())
    for folder in folders:
        relations |= load_folder(folder)
    return relations


@cache
def packaged() -> Catalogue:
    """The packaged relations by id. They are read once in each process."""
    return load_folder(PACKAGED)


def load_folder(folder: Path) -> dict[str, Relation]:
    """The relations of one folder by id.

    Raises: BadRelation: the text names the file and its fault.
    """
    if not folder.is_dir():
        raise BadRelation(f"{folder} is not a folder; name one that holds relations as TOML files")
    relations = [read_relation(path) for path in sorted(folder.glob("*.toml"))]
    return {relation.id: relation for relation in relations}


def read_relation(path: Path) -> Relation:
    """One relation from its file. Raises: BadRelation: the text names the file and its fault."""
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
    if fault := _form_fault(forms) or _list_fault(plain) or _unknown_keys(table):
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
    """(plain form, form before a vowel) of a wording, given as a text or as a table of both."""
    if isinstance(item, str):
        return item, ""
    return str(item["plain"]), str(item["vowel"])


def _list_fault(plain: Mapping[str, tuple[str, ...]]) -> str:
    """The first fault in the lists of wordings of a language; empty if there is none."""
    edit, check, past = plain["edit"], plain["check"], plain["past"]
    if len(edit) < 1 or len(check) < 2:
        return "needs a wording to edit and two to check"
    if set(edit) & set(check):
        return "checks with a wording that it edits with"
    if len(set(past)) < len(past):
        return "has the same wording twice in past"
    return ""


def _form_fault(forms: Mapping[str, Forms]) -> str:
    """The first fault in a single wording, with its text; empty if there is none."""
    for kind, pairs in forms.items():
        years = 1 if kind == "past" else 0
        for text in (form for pair in pairs for form in _given_forms(pair)):
            if text.count("{}") != 1 or text != text.strip():
                return f"{kind}: {text!r} must hold {{}} once and have no space around"
            if text.count("{year}") != years:
                return f"{kind}: {text!r} must hold {{year}} {'once' if years else 'never'}"
    return ""


def _given_forms(pair: tuple[str, str]) -> tuple[str, ...]:
    return pair if pair[1] else pair[:1]


def _unknown_keys(table: Mapping[str, Any]) -> str:
    unknown = sorted(set(table) - set(KINDS))
    return f"has unknown keys: {', '.join(unknown)}" if unknown else ""
