"""Commands about the relation catalogue, which need no model: relations list, relations check."""

from pathlib import Path
from typing import Annotated

import typer

from factd.daemon.cli import common
from factd.daemon.cli.common import Json, sentences
from factd.daemon.cli.output import show

relations_app = typer.Typer(no_args_is_help=True, help="How facts are said in each language.")
Folder = Annotated[
    Path | None, typer.Argument(help="A folder of your own; the packaged relations without.")
]


@relations_app.command("list")
def relations_list(folder: Folder = None, as_json: Json = False) -> None:
    """The relations that can be written."""
    from factd.store.catalogue.catalogue import PACKAGED, load_folder

    with sentences():
        found = load_folder(folder or PACKAGED)
    data = [
        {
            "id": r.id,
            "name": r.name,
            "cardinality": "many" if r.many else "one",
            "subject_kind": r.subject_kind,
            "object_kind": r.object_kind,
            "languages": list(r.wordings),
        }
        for r in found.values()
    ]
    lines = [
        f"{r.id:<6} {r.name:<40} {r.subject_kind} → {r.object_kind}{' (many)' if r.many else ''}"
        for r in found.values()
    ]
    show(data, lines, as_json=as_json)


@relations_app.command("check")
def relations_check(
    folder: Folder = None,
    languages: Annotated[
        str, typer.Option(help="That every relation must have, with commas between.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Find wordings that would make wrong sentences. Exit 1 where there are any."""
    from factd.store.catalogue.catalogue import PACKAGED, load_folder
    from factd.store.catalogue.lint import LANGUAGES, lint_relation

    wanted = tuple(part.strip() for part in languages.split(",") if part.strip())
    with sentences():
        relations = load_folder(folder or PACKAGED)
    if not wanted:
        wanted = () if folder else LANGUAGES
    found = [
        finding for relation in relations.values() for finding in lint_relation(relation, wanted)
    ]
    data = {
        "relations": len(relations),
        "findings": [
            {
                "relation": f.relation,
                "language": f.language,
                "wording": f.wording,
                "problem": f.problem,
            }
            for f in found
        ],
    }
    lines = [str(finding) for finding in found] + [f"{len(relations)} relations, {len(found)} findings"]  # fmt: skip
    show(data, lines, as_json=as_json)
    if found:
        common.fail(f"{len(found)} wordings need mending")


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(relations_app, name="relations")
