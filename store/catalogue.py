"""The relation catalogue: how a fact is said in each language. One TOML file per relation."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from store.errors import BadRelation

PACKAGED = Path(__file__).parent / "relations"


@dataclass(frozen=True, kw_only=True)
class Wordings:
    """Prompts of one relation in one language. Each holds "{}" once, for the subject, and ends where the object starts."""

    edit: tuple[str, ...]  # facts are written with these
    check: tuple[str, ...]  # only checks use these


@dataclass(frozen=True, kw_only=True)
class Relation:
    """One relation of the catalogue."""

    id: str  # Wikidata's, "P38"
    name: str
    many: bool  # a subject may have several objects at a time
    subject_kind: str
    object_kind: str
    wordings: Mapping[str, Wordings]  # language -> prompts


Catalogue = Mapping[str, Relation]


def load_catalogue(*folders: Path) -> Catalogue:
    """Relations by id: the packaged ones, then those of the given folders, later ones replacing earlier ones.

    Raises: BadRelation: names the file and what is wrong with it.
    """
    found: dict[str, Relation] = {}
    for folder in (PACKAGED, *folders):
        if not folder.is_dir():
            raise BadRelation(f"{folder} is no folder; name one that holds relations as TOML files")
        for path in sorted(folder.glob("*.toml")):
            relation = read_relation(path)
            found[relation.id] = relation
    return found


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
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRelation(f"{path}: {error!r}; see P38.toml for a complete file") from error
    if cardinality not in ("one", "many"):
        raise BadRelation(f"{path}: cardinality must be 'one' or 'many', not {cardinality!r}")
    return relation


def _wordings(path: Path, language: str, table: Mapping[str, list[str]]) -> Wordings:
    found = Wordings(edit=tuple(table["edit"]), check=tuple(table["check"]))
    if len(found.edit) < 1 or len(found.check) < 2:
        raise BadRelation(f"{path}: {language} needs a wording to edit and two to check")
    if set(found.edit) & set(found.check):
        raise BadRelation(f"{path}: {language} checks with a wording it edits with")
    for prompt in (*found.edit, *found.check):
        if prompt.count("{}") != 1 or prompt != prompt.strip():
            raise BadRelation(
                f"{path}: {language}: {prompt!r} must hold {{}} once and have no space around"
            )
    return found
