"""Commands of the editor alone: apply, tune, stats."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from factd.daemon.cli.common import Json, opened, sentences
from factd.daemon.cli.operate.releases import number_text
from factd.daemon.cli.output import progress, show
from factd.daemon.errors import Refused

if TYPE_CHECKING:
    from factd.editor.edits import Edit

stats_app = typer.Typer(no_args_is_help=True, help="Second-moment statistics.")


def setting(text: str) -> tuple[str, Any]:
    """key=value, the value as TOML writes it (a bare word is a text). Raises: BadParameter."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"--set takes key=value, not {text!r}")
    try:
        return key, tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key, value


def table_of(settings: Path | None, method: str) -> dict[str, Any]:
    """The [method.NAME] table of a TOML file. Raises: Refused: it cannot be read or has none."""
    if settings is None:
        return {}
    try:
        data = tomllib.loads(settings.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Refused(f"{settings} cannot be read as TOML: {error}") from error
    table = data.get("method", {}).get(method)
    if not isinstance(table, dict):
        raise Refused(f"{settings} has no table [method.{method}]")
    return table


def apply(
    model: Path,
    edits: Path,
    out: Annotated[Path, typer.Option("--out", help="Where the edited checkpoint goes.")],
    method: Annotated[str, typer.Option("--method", help="One of editor/methods.")] = "memit",
    languages: Annotated[
        str, typer.Option("--languages", help="Languages to write, en,es; the others are asked.")
    ] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the method, key=value.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="A TOML file with a [method.NAME] table.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The editor alone: no store, no daemon; writes an edited checkpoint, a JSON and an HTML report."""
    with sentences():
        from factd.daemon.editing.apply import ApplyJob, apply_edits

        given = dict(setting(text) for text in set_ or [])
        job = ApplyJob(
            model=model,
            edits=edits,
            out=out,
            method=method,
            languages=tuple(filter(None, languages.split(","))),
            table={**table_of(settings, method), **given},
        )
        with progress() as told:
            data = apply_edits(job, progress=told)
    lines = [
        f"{m['check']:<11} {m['metric']:<10} {m['language']:<4} {number_text(m['value'])}"
        for m in data["measurements"]
    ]
    done = f"wrote {out}: {data['edits']} edits in {data['seconds']:.1f} s; report in {job.beside('.report.html')}"
    show(data, [done, *lines], as_json=as_json)


def tune(
    model: Path,
    facts: Annotated[
        Path | None,
        typer.Option(help="JSONL of facts that the model knows; else those of the store."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the settings go, as TOML.")] = Path("tuned.toml"),
    settings: Annotated[
        Path | None, typer.Option(help="TOML whose [method.memit] gives what is not searched.")
    ] = None,
    language: Annotated[str, typer.Option(help="Of the facts that are tried.")] = "en",
    edits: Annotated[int, typer.Option(min=4, help="Edits of each trial.")] = 24,
    preset: Annotated[
        bool, typer.Option(help="Write the published settings of this model; nothing is run.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Choose layers, step size and strength for a model: causal tracing, then a short search."""
    with sentences():
        from factd.daemon.editing import tune as tuning
        from factd.editor.edits import read_known

        if preset:
            data = tuning.write_preset(model, out)
        else:
            rows = read_known(facts) if facts else _known_facts(language)
            table = table_of(settings, "memit")
            with progress() as told:
                data = tuning.tune_model(
                    model, rows, out, table=table, language=language, edits=edits, progress=told
                )
    show(data, data["lines"], as_json=as_json)


@stats_app.command("build")
def stats_build(
    tokens: Annotated[int | None, typer.Option(min=1, help="Size of the sample.")] = None,
    corpus: Annotated[
        list[str] | None, typer.Option(help="FILE or FILE=WEIGHT, text or JSONL; repeat for more.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Second moments of the configured model and layers, from a corpus or from text that it writes itself; kept."""
    with sentences():
        from factd.editor.methods._write import second_moments

        app = opened()
        with progress() as told:
            settings = sampled(app.workbench.method_settings(), tokens, corpus)
            found = second_moments(app.workbench.model(), settings, app.workbench.workspace, told)
    data = {
        "layers": sorted(found.layers),
        "tokens": found.tokens,
        "source": found.source,
        "fingerprint": found.fingerprint,
        "settings": {
            "second_moment_tokens": settings.second_moment_tokens,
            "second_moment_corpus": list(settings.second_moment_corpus),
        },
    }
    show(data, [f"layers {data['layers']}: {found.tokens} tokens, {found.source}"], as_json=as_json)


def sampled(settings: Any, tokens: int | None, corpus: list[str] | None) -> Any:
    """Settings with another sample of the second moments. Raises: Refused: the method has none."""
    from dataclasses import replace

    if not hasattr(settings, "second_moment_tokens"):
        raise Refused("the configured method uses no second moments")
    changes: dict[str, Any] = {"second_moment_tokens": tokens} if tokens else {}
    if corpus:
        changes["second_moment_corpus"] = tuple(str(Path(c).absolute()) for c in corpus)
    return replace(settings, **changes)


@stats_app.command("converge")
def stats_converge(
    edits: Annotated[Path, typer.Argument(help="JSONL of edits to try.")],
    tokens: Annotated[int | None, typer.Option(min=2, help="Size of the largest sample.")] = None,
    halvings: Annotated[int, typer.Option(min=1, max=6)] = 3,
    corpus: Annotated[list[str] | None, typer.Option(help="FILE or FILE=WEIGHT.")] = None,
    as_json: Json = False,
) -> None:
    """How much the edit changes when the sample of the second moments is halved, and halved again."""
    with sentences():
        from factd.editor.edits import read_edits
        from factd.editor.tuning.convergence import convergence

        app = opened()
        batch = read_edits(edits)
        with progress() as told:
            found = convergence(
                app.workbench.model(),
                batch,
                settings=sampled(app.workbench.method_settings(), tokens, corpus),
                workspace=app.workbench.workspace,
                halvings=halvings,
                progress=told,
            )
    lines = [
        f"{row.tokens:>9} tokens: the update differs by {row.update_change:.3f}, its answers by {row.nll_change:.4f} nats"
        for row in found
    ]
    show([vars(row) for row in found], lines, as_json=as_json)


def _known_facts(language: str) -> "list[Edit]":
    """The store's facts of the base model."""
    from factd.daemon.editing import tune as tuning

    app = opened()
    return tuning.known_facts_of_store(app.ledger, app.prompts, language)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(stats_app, name="stats")
    for command in (apply, tune):
        cli.command()(command)
