"""The commands `factd relations list` and `factd relations check`. They load no model."""

from pathlib import Path
from typing import Annotated

import typer

from factd.daemon.cli import common
from factd.daemon.cli.common import Json, reported_errors
from factd.daemon.cli.output import show
from factd.store.catalogue.catalogue import PACKAGED, load_folder
from factd.store.catalogue.lint import LANGUAGES, lint_relation

relations_app = typer.Typer(
    no_args_is_help=True, help="The relation catalogue: how each relation is worded per language."
)
Folder = Annotated[
    Path | None,
    typer.Argument(help="A folder of your own relations. Without it: the packaged relations."),
]


@relations_app.command("list")
def relations_list(folder: Folder = None, as_json: Json = False) -> None:
    """List the relations that can be written."""
    with reported_errors():
        relations = load_folder(folder or PACKAGED)
    data = [
        {
            "id": r.id,
            "name": r.name,
            "cardinality": "many" if r.many else "one",
            "subject_kind": r.subject_kind,
            "object_kind": r.object_kind,
            "languages": list(r.wordings),
        }
        for r in relations.values()
    ]
    lines = [
        f"{r.id:<6} {r.name:<40} {r.subject_kind} → {r.object_kind}{' (many)' if r.many else ''}"
        for r in relations.values()
    ]
    show(data, lines, as_json=as_json)


@relations_app.command("check")
def relations_check(
    folder: Folder = None,
    languages: Annotated[
        str,
        typer.Option(help="Languages that every relation must have, separated by commas: en,de"),
    ] = "",
    as_json: Json = False,
) -> None:
    """Find wordings that would make wrong sentences. Exit code 1 if there are any."""
    wanted = tuple(part.strip() for part in languages.split(",") if part.strip())
    with reported_errors():
        relations = load_folder(folder or PACKAGED)
    if not wanted:
        wanted = () if folder else LANGUAGES
    problems = [finding for r in relations.values() for finding in lint_relation(r, wanted)]
    data = {
        "relations": len(relations),
        "findings": [
            {
                "relation": f.relation,
                "language": f.language,
                "wording": f.wording,
                "problem": f.problem,
            }
            for f in problems
        ],
    }
    lines = [str(finding) for finding in problems]
    lines.append(f"{len(relations)} relations, {len(problems)} findings")
    show(data, lines, as_json=as_json)
    if problems:
        common.fail(f"{len(problems)} wordings are wrong; correct them in the relation files")


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(relations_app, name="relations")
