"""Tries every method on a tiny model of every family, and writes the table into the documentation.

    python -m factd.bench.quality.families [--write]

"yes": the edit raises the probability of the targets, every bit is put back, and the checkpoint is
written. "in memory": the edit runs, but no checkpoint of this class can carry it. Otherwise the
cell says why the edit was refused.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from factd.editor import EditBatch, applied, load_model, plugins, write_checkpoint
from factd.editor.errors import NotEditable
from factd.editor.models.model import EditableModel
from factd.editor.scoring.score import forced_scores
from factd.editor.settings import settings_from
from factd.reference import paths, tiny

PAGE = paths.ROOT.parent / "docs" / "reference" / "methods-and-families.md"
MARKS = (
    "<!-- families: python -m factd.bench.quality.families --write -->",
    "<!-- end of families -->",
)


def cell(model: EditableModel, method: str, folder: Path) -> str:
    """The cell of a method and a model."""
    module = plugins.load("factd.editor.methods", method)
    settings = settings_from(module.Settings, tiny.SETTINGS[method])
    batch = EditBatch.of(tiny.EDITS)
    asked = [(e.prompt.format(e.subject), e.target_new) for e in batch.edits]
    try:
        delta = module.edit(model, batch, settings=settings, workspace=folder / "workspace")
    except NotEditable:
        return "no heads"
    before = sum(nll for nll, _ in forced_scores(model, asked))
    with applied(model, delta):
        after = sum(nll for nll, _ in forced_scores(model, asked))
    if not after < before:
        return f"no effect ({before:.2f} → {after:.2f})"
    try:
        write_checkpoint(model.path, delta, folder / f"out-{method}")
    except NotEditable:
        return "in memory"
    return "yes"


def row(base: Path, folder: Path) -> dict[str, str]:
    """The cells of every method on a checkpoint. folder: for their files."""
    model = load_model(base)
    return {method: cell(model, method, folder) for method in plugins.names("factd.editor.methods")}


def rows() -> Iterator[dict[str, str]]:
    """The row of every family; each is printed when it is ready."""
    for family in plugins.names("factd.editor.families"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            found = {"family": family, **row(tiny.make(family, folder / "base"), folder)}
        print(found, flush=True)
        yield found


def main() -> None:
    """Try all, print the table, and write it into the documentation if asked to."""
    from factd.bench.quality.world import table

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="write the table into docs/reference/methods-and-families.md",
    )
    options = parser.parse_args()
    text = table(list(rows()))
    print(text)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        start, end = page.index(MARKS[0]) + len(MARKS[0]), page.index(MARKS[1])
        PAGE.write_text(f"{page[:start]}\n\n{text}\n\n{page[end:]}", encoding="utf-8")


if __name__ == "__main__":
    main()
