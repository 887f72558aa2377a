"""Head corrections (MEMAT): trained rarely, used on every later candidate, switched off and on, withdrawn."""

from typing import Annotated, Any

import typer

from factd.daemon.app import writing
from factd.daemon.cli.common import Json, opened, sentences
from factd.daemon.cli.output import progress, show

heads_app = typer.Typer(
    no_args_is_help=True, help="Head corrections (MEMAT), an artefact per language."
)
Language = Annotated[str, typer.Argument(help="BCP 47, as in the facts' labels.")]


@heads_app.command("list")
def list_(as_json: Json = False) -> None:
    """The corrections for the base model, with their state."""
    with sentences():
        from factd.editor.heads.corrections import list_corrections
        from factd.editor.models.model import fingerprint

        app = opened()
        base = fingerprint(app.workbench.table.path)
        found = list_corrections(app.workbench.workspace, base)
    rows = [
        {
            "language": c.language,
            "state": state,
            "id": c.id,
            "heads": len(c.heads),
            "facts": c.facts,
        }
        for c, state in found
    ]
    lines = [
        f"{r['language']:<6} {r['state']:<10} {str(r['id'])[:12]}  {r['heads']} heads" for r in rows
    ]
    show(rows, lines or ["none; `factd heads train LANGUAGE` makes them"], as_json=as_json)


@heads_app.command("train")
def train(
    language: Language,
    count: Annotated[int, typer.Option(min=1, help="Heads to correct.")] = 16,
    as_json: Json = False,
) -> None:
    """Train corrections of a language on the live release; the next candidate gets them."""
    with sentences():
        from factd.daemon.editing import head_corrections

        with writing(opened()) as app, progress() as told:
            found = head_corrections.train(
                app.ledger,
                app.paths,
                app.workbench,
                app.prompts,
                language,
                count=count,
                progress=told,
            )
    show(
        found,
        [f"{language}: {found['heads']} heads, {found['facts']} sentence pairs"],
        as_json=as_json,
    )


def _switch(language: str, state: str, *, as_json: bool) -> None:
    with sentences():
        from factd.editor.heads.corrections import switch
        from factd.editor.models.model import fingerprint

        with writing(opened()) as app:
            switch(app.workbench.workspace, fingerprint(app.workbench.table.path), language, state)
    said: dict[str, Any] = {"language": language, "state": state}
    show(said, [f"{language}: {state}; the next candidate shows it"], as_json=as_json)


@heads_app.command("on")
def on(language: Language, as_json: Json = False) -> None:
    """Use the corrections of a language in later candidates."""
    _switch(language, "on", as_json=as_json)


@heads_app.command("off")
def off(language: Language, as_json: Json = False) -> None:
    """Leave the corrections of a language out of later candidates; they stay on disk."""
    _switch(language, "off", as_json=as_json)


@heads_app.command("withdraw")
def withdraw(language: Language, as_json: Json = False) -> None:
    """Never use these corrections again."""
    _switch(language, "withdrawn", as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(heads_app, name="heads")
