"""The commands `factd apply`, `factd tune` and `factd stats`: the editor without the daemon."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from factd.daemon.cli.common import Json, config_path, configured_app, reported_errors
from factd.daemon.cli.output import measured, progress, show
from factd.daemon.editing import tune as tuning
from factd.daemon.editing.apply import ApplyJob, apply_edits
from factd.daemon.editing.settings import MINUTES, tunings_folder
from factd.daemon.errors import Refused
from factd.daemon.models import resolve
from factd.editor.edits import read_edits, read_known
from factd.editor.tuning.kept import KeptTunings
from factd.store.catalogue.catalogue import load_catalogue

if TYPE_CHECKING:
    from factd.editor.edits import Edit

SHOWN = 5  # records that were not written, on the terminal
ModelPath = Annotated[
    Path, typer.Argument(help="The model's folder, or a name of `factd models list`.")
]
stats_app = typer.Typer(no_args_is_help=True, help="Second-moment statistics of the base model.")


def setting(text: str) -> tuple[str, Any]:
    """Key and value of `key=value`.

    The value is TOML; a bare word is a string.

    Raises: BadParameter.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"--set takes key=value, not {text!r}; write --set v_lr=0.3")
    try:
        return key, tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key, value


def table_of(settings: Path | None, method: str) -> dict[str, Any]:
    """The [method.NAME] table of a TOML file.

    Raises: Refused: the file cannot be read or lacks the table.
    """
    if settings is None:
        return {}
    try:
        data = tomllib.loads(settings.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Refused(f"{settings} cannot be read as TOML: {error}") from error
    table = data.get("method", {}).get(method)
    if not isinstance(table, dict):
        raise Refused(f"{settings} has no table [method.{method}]; add it, or leave --settings out")
    return table


def apply(
    model: ModelPath,
    edits: Annotated[
        Path, typer.Argument(help="A JSONL file, one edit a line, or benchmark data.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder of the edited checkpoint.")],
    method: Annotated[
        str, typer.Option("--method", help="The editing method, a file of editor/methods.")
    ] = "memit",
    languages: Annotated[
        str,
        typer.Option(
            "--languages",
            help="Languages to write, as en,es. Edits in other languages are only measured.",
        ),
    ] = "",
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="The format of the edits, a file of editor/datasets/formats. "
            "Without it: found by looking at the file.",
        ),
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="How many facts to write at most. Without it: all of the file."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the method, key=value; may be repeated."),
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="A TOML file with a [method.NAME] table.")
    ] = None,
    always_tune: Annotated[
        bool,
        typer.Option("--tune", help="Search settings anew, also if some are kept or published."),
    ] = False,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="Minutes that a search for settings may take.")
    ] = MINUTES,
    as_json: Json = False,
) -> None:
    """Write edits into a model, without store and daemon.

    Settings that are not given come from a tuning kept for this model, else from its preset, else
    from a search on facts that the model knows, whose result is kept.

    Writes an edited checkpoint, a JSON report and an HTML report. Records that are bad, or that the
    model says already, are skipped and listed.
    """
    with reported_errors():
        given = dict(setting(text) for text in set_ or [])
        job = ApplyJob(
            model=resolve(model),
            edits=edits,
            out=out,
            method=method,
            languages=tuple(filter(None, languages.split(","))),
            format_name=format_,
            limit=limit,
            table={**table_of(settings, method), **given},
            table_from=" and ".join([*["--set"] * bool(given), *[str(settings)] * bool(settings)]),
            search_minutes=minutes,
            always_search=always_tune,
        )
        with progress() as report_progress:
            data = apply_edits(job, progress=report_progress)
    lines = [
        f"{m['check']:<11} {m['metric']:<10} {m['language']:<4} {measured(m['value'])}"
        for m in data["measurements"]
    ]
    report = job.beside(".report.html")
    done = f"wrote {out}: {data['edits']} edits in {data['seconds']:.1f} s; report in {report}"
    source = [f"settings from {data['settings_source']}", *data["notes"]]
    show(data, [done, *source, *lines, *skipped_lines(data["skipped"])], as_json=as_json)


def skipped_lines(skipped: Sequence[Mapping[str, str]]) -> list[str]:
    """What is said of the records that were not written: the first ones, and how many more."""
    lines = [f"not written: {record['place']}: {record['reason']}" for record in skipped[:SHOWN]]
    more = len(skipped) - len(lines)
    return [*lines, f"not written: {more} more, all in the report"] if more else lines


def tune(
    model: ModelPath,
    facts: Annotated[
        Path | None,
        typer.Option(
            help="A JSONL file of facts that the model knows. Without it: the store's, or, without "
            "a configuration file, common facts of the world."
        ),
    ] = None,
    common: Annotated[
        bool,
        typer.Option("--common", help="Use common facts of the world, whatever the store holds."),
    ] = False,
    out: Annotated[
        Path, typer.Option(help="The TOML file that the settings are written to.")
    ] = Path("tuned.toml"),
    settings: Annotated[
        Path | None,
        typer.Option(help="A TOML file whose [method.memit] gives the settings not searched for."),
    ] = None,
    language: Annotated[str, typer.Option(help="The language of the facts in the trials.")] = "en",
    edits: Annotated[int, typer.Option(min=4, help="Edits in each trial.")] = 24,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="Minutes that the search may take.")
    ] = MINUTES,
    preset: Annotated[
        bool, typer.Option(help="Write the published settings of this model, without a search.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Choose layers, step size and strength for a model.

    Causal tracing finds layers, then a search in bounded time compares them and finds the rest. The
    result is kept for `factd apply` and `factd edit`.
    """
    with reported_errors():
        model = resolve(model)
        if preset:
            data = tuning.write_preset(model, out)
        else:
            rows = _facts_to_tune_on(facts, language, common=common)
            table = table_of(settings, "memit")
            job = tuning.TuningJob(language=language, minutes=minutes, edits=edits)
            keep = KeptTunings(tunings_folder()).save
            with progress() as report_progress:
                data = tuning.tune_model(
                    model, rows, out, table=table, job=job, progress=report_progress, keep=keep
                )
    show(data, data["lines"], as_json=as_json)


@stats_app.command("build")
def stats_build(
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens in the sample.")] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="A text or JSONL file, FILE or FILE=WEIGHT; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute the second moments of the configured model and layers.

    The text comes from a corpus, or the model writes it itself. The result is kept on disk.
    """
    with reported_errors():
        from factd.editor.methods._write import second_moments  # imports torch

        bench = configured_app().workbench
        with progress() as report_progress:
            settings = sampled(bench.method_settings(), tokens, corpus)
            moments = second_moments(bench.model(), settings, bench.workspace, report_progress)
    data = {
        "layers": sorted(moments.layers),
        "tokens": moments.tokens,
        "source": moments.source,
        "fingerprint": moments.fingerprint,
        "settings": {
            "second_moment_tokens": settings.second_moment_tokens,
            "second_moment_corpus": list(settings.second_moment_corpus),
        },
    }
    line = f"layers {data['layers']}: {moments.tokens} tokens, {moments.source}"
    show(data, [line], as_json=as_json)


def sampled(settings: Any, tokens: int | None, corpus: list[str] | None) -> Any:
    """The settings with another sample of the second moments.

    Raises: Refused: the method uses none.
    """
    if not hasattr(settings, "second_moment_tokens"):
        raise Refused("the configured method uses no second moments; nothing is computed")
    changes: dict[str, Any] = {"second_moment_tokens": tokens} if tokens else {}
    if corpus:
        changes["second_moment_corpus"] = tuple(str(Path(c).absolute()) for c in corpus)
    return replace(settings, **changes)


@stats_app.command("converge")
def stats_converge(
    edits: Annotated[Path, typer.Argument(help="A JSONL file of edits to try.")],
    tokens: Annotated[int | None, typer.Option(min=2, help="Tokens in the largest sample.")] = None,
    halvings: Annotated[int, typer.Option(min=1, max=6, help="How often to halve it.")] = 3,
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="A text or JSONL file, FILE or FILE=WEIGHT; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure whether the sample of the second moments is large enough.

    The sample is halved, and halved again; each time the command says how much the edit changes.
    """
    with reported_errors():
        from factd.editor.tuning.convergence import convergence  # imports torch

        app = configured_app()
        batch = read_edits(edits)
        with progress() as report_progress:
            rows = convergence(
                app.workbench.model(),
                batch,
                settings=sampled(app.workbench.method_settings(), tokens, corpus),
                workspace=app.workbench.workspace,
                halvings=halvings,
                progress=report_progress,
            )
    lines = [
        f"{row.tokens:>9} tokens: "
        f"the update differs by {row.update_change:.3f}, its answers by {row.nll_change:.4f} nats"
        for row in rows
    ]
    show([vars(row) for row in rows], lines, as_json=as_json)


def _facts_to_tune_on(file: Path | None, language: str, *, common: bool) -> "list[Edit]":
    """Facts in one language: of a file, of the store, or common ones. Raises: Refused, BadEdit."""
    if file is not None:
        return [row for row in read_known(file) if row.language == language]
    if common or not config_path().exists():
        return tuning.facts_to_tune_on(load_catalogue(), language, asked=())
    app = configured_app()
    return tuning.known_facts_of_store(app.ledger, app.prompts, language)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(stats_app, name="stats")
    for command in (apply, tune):
        cli.command()(command)
