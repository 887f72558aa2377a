"""The commands `factd heads`: head corrections (MEMAT).

Corrections are trained rarely and used on every later candidate. They can be switched off and on,
or withdrawn for good.
"""

from typing import Annotated, Any

import typer

from factd.daemon.app import writing
from factd.daemon.cli.common import Json, configured_app, reported_errors
from factd.daemon.cli.output import progress, show
from factd.daemon.editing import head_corrections

heads_app = typer.Typer(
    no_args_is_help=True, help="Head corrections (MEMAT), one artefact per language."
)
Language = Annotated[str, typer.Argument(help="A BCP 47 language tag, as in the facts' labels.")]


@heads_app.command("list")
def list_(as_json: Json = False) -> None:
    """List the corrections for the base model and their state."""
    with reported_errors():
        from factd.editor.heads.corrections import list_corrections  # imports torch
        from factd.editor.models.model import fingerprint

        app = configured_app()
        base = fingerprint(app.workbench.table.path)
        corrections = list_corrections(app.workbench.workspace, base)
    rows = [
        {
            "language": c.language,
            "state": state,
            "id": c.id,
            "heads": len(c.heads),
            "facts": c.facts,
        }
        for c, state in corrections
    ]
    lines = [
        f"{r['language']:<6} {r['state']:<10} {str(r['id'])[:12]}  {r['heads']} heads" for r in rows
    ]
    show(
        rows, lines or ["no corrections; `factd heads train LANGUAGE` trains them"], as_json=as_json
    )


@heads_app.command("train")
def train(
    language: Language,
    count: Annotated[int, typer.Option(min=1, help="How many heads to correct.")] = 16,
    as_json: Json = False,
) -> None:
    """Train the corrections of a language on the live release. The next candidate uses them."""
    with reported_errors(), writing(configured_app()) as app, progress() as report_progress:
        trained = head_corrections.train(
            app.ledger,
            app.paths,
            app.workbench,
            app.prompts,
            language,
            count=count,
            progress=report_progress,
        )
    line = f"{language}: {trained['heads']} heads, {trained['facts']} sentence pairs"
    show(trained, [line], as_json=as_json)


def _switch(language: str, state: str, *, as_json: bool) -> None:
    """Set the state of the corrections of a language."""
    with reported_errors():
        from factd.editor.heads.corrections import switch  # imports torch
        from factd.editor.models.model import fingerprint

        with writing(configured_app()) as app:
            switch(app.workbench.workspace, fingerprint(app.workbench.table.path), language, state)
    data: dict[str, Any] = {"language": language, "state": state}
    show(data, [f"{language}: {state}, from the next candidate on"], as_json=as_json)


@heads_app.command("on")
def on(language: Language, as_json: Json = False) -> None:
    """Use the corrections of a language in later candidates."""
    _switch(language, "on", as_json=as_json)


@heads_app.command("off")
def off(language: Language, as_json: Json = False) -> None:
    """Leave the corrections of a language out of later candidates. They stay on disk."""
    _switch(language, "off", as_json=as_json)


@heads_app.command("withdraw")
def withdraw(language: Language, as_json: Json = False) -> None:
    """Never use these corrections again."""
    _switch(language, "withdrawn", as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(heads_app, name="heads")
