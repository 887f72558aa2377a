"""The relation catalogue: how a fact is said in each language. One TOML file per relation."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from store.errors import BadRelation

PACKAGED = Path(__file__).parent / "relations"


VOWELS = frozenset("aeiouàáâäãåæèéêëìíîïòóôöõœùúûü")


@dataclass(frozen=True, kw_only=True)
class Wordings:
    """Prompts of one relation in one language. Each holds "{}" once, for the subject, and ends where the object starts."""

    edit: tuple[str, ...]  # facts are written with these
    check: tuple[str, ...]  # only checks use these
    vowel: Mapping[str, str] = field(default_factory=dict)  # the form of some before a vowel: d'{}

    @property
    def all(self) -> tuple[str, ...]:
        """Both kinds."""
        return *self.edit, *self.check

    def before(self, wording: str, name: str) -> str:
        """The form that a wording has before a name."""
        begins = name.casefold()[:1] in VOWELS
        return self.vowel.get(wording, wording) if begins else wording


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


def load_catalogue(*folders: Path) -> Catalogue:
    """Relations by id: the packaged ones, then those of the given folders, later ones replacing earlier ones.

    Raises: BadRelation: names the file and what is wrong with it.
    """
    found: dict[str, Relation] = {}
    for folder in (PACKAGED, *folders):
        found |= load_folder(folder)
    return found


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


def _wordings(path: Path, language: str, table: Mapping[str, list[Any]]) -> Wordings:
    forms = [_forms(item) for item in (*table["edit"], *table["check"])]
    plain = tuple(form for form, _ in forms)
    found = Wordings(
        edit=plain[: len(table["edit"])],
        check=plain[len(table["edit"]) :],
        vowel={form: vowel for form, vowel in forms if vowel},
    )
    if len(found.edit) < 1 or len(found.check) < 2:
        raise BadRelation(f"{path}: {language} needs a wording to edit and two to check")
    if set(found.edit) & set(found.check):
        raise BadRelation(f"{path}: {language} checks with a wording it edits with")
    for prompt in (*found.all, *found.vowel.values()):
        if prompt.count("{}") != 1 or prompt != prompt.strip():
            raise BadRelation(
                f"{path}: {language}: {prompt!r} must hold {{}} once and have no space around"
            )
    return found


def _forms(item: Any) -> tuple[str, str]:
    """(plain, before a vowel) of a wording: a text, or a table with both."""
    if isinstance(item, str):
        return item, ""
    return str(item["plain"]), str(item["vowel"])
