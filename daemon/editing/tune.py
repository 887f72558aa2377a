"""`factd tune`: known facts in, settings and a page with the tracing plot out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.editing.candidates import Progress
from factd.daemon.errors import Refused
from factd.daemon.ledger import Ledger
from factd.daemon.prompts.edits import PromptSettings
from factd.store import queries
from factd.store.model.facts import FactStatus

if TYPE_CHECKING:
    from factd.editor.edits import Edit
    from factd.editor.tuning.search import Tuned


def from_store(ledger: Ledger, prompts: PromptSettings, language: str) -> "list[Edit]":
    """The known facts of the store in a language, in every wording of the catalogue.

    Raises: Refused: there are none.
    """
    from factd.editor.edits import ANY, Edit

    with ledger.begin() as session:
        known = queries.facts.list_facts(session, status=(FactStatus.KNOWN,))
    found = []
    for fact in known:
        wordings = prompts.catalogue[fact.relation].wordings.get(language)
        if wordings and language in fact.subject.labels and language in fact.object.labels:
            found += [
                Edit(
                    prompt=prompt,
                    subject=fact.subject.labels[language],
                    target_new=ANY,
                    target_true=fact.object.labels[language],
                    language=language,
                )
                for prompt in (*wordings.edit, *wordings.check)
            ]
    if not found:
        raise Refused(
            f"the store holds no known facts in {language!r}; give --facts FILE, or `factd ingest FILE --known`"
        )
    return found


def from_preset(model: Path, out: Path) -> dict[str, Any]:
    """Write the published settings of a model. Raises: Refused: nobody published any for it."""
    from factd.editor.deltas.checkpoint import read_config
    from factd.editor.models.model import family_of
    from factd.editor.tuning.presets import preset_for, presets

    family_of(model)
    found = preset_for(read_config(model))
    if found is None:
        held = ", ".join(p.name for p in presets())
        raise Refused(
            f"{model} is none of the models with published settings ({held}); leave --preset out"
        )
    write_settings(out, dict(found.memit), found.source)
    return {
        "preset": found.name,
        "source": found.source,
        "settings": dict(found.memit),
        "out": str(out),
        "lines": [f"wrote {out}: {found.name}, {found.source}"],
    }


def run(
    model: Path,
    rows: "Sequence[Edit]",
    out: Path,
    *,
    table: Mapping[str, Any],
    language: str,
    edits: int,
    progress: Progress,
) -> dict[str, Any]:
    """Tune, write OUT (settings), OUT.json (every trial) and OUT.html (tracing and curves)."""
    from factd.editor.methods._write import WriteSettings
    from factd.editor.models.model import load_model
    from factd.editor.settings import settings_from
    from factd.editor.tuning.search import known_facts, tune

    searched = ("layers", "v_lr", "second_moment_weight")
    kept = {k: v for k, v in table.items() if k not in (*searched, "protect_weight")}
    checked = settings_from(WriteSettings, {"layers": [0], **kept})
    facts = known_facts(row for row in rows if row.language == language)
    loaded = load_model(model)
    found = tune(
        loaded,
        facts,
        workspace=out.with_name(out.name + ".workspace"),
        given={k: getattr(checked, k) for k in kept},
        edits=edits,
        progress=progress,
    )
    settings = {**kept, **{k: found.settings[k] for k in searched}}
    write_settings(out, settings, f"factd tune {model.name}, {edits} edits in {language}")
    data = asdict(found) | {"settings": settings, "out": str(out)}
    out.with_suffix(".json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    page = out.with_suffix(".html")
    page.write_text(tuned_page(model, found), encoding="utf-8")
    best = f"layers {list(found.layers)}, v_lr {found.v_lr:g}, second_moment_weight {found.second_moment_weight:g}"
    return data | {"lines": [f"wrote {out}: {best}", f"plots in {page}"]}


def tuned_page(model: Path, found: "Tuned") -> str:
    """Tracing, curves, and every trial."""
    from factd.editor.reports.edit_page import table_page
    from factd.editor.reports.plots import trace_figure, tuning_figure

    return table_page(
        f"tuning {model.name}",
        {
            "layers": str(list(found.layers)),
            "v_lr": found.v_lr,
            "second_moment_weight": found.second_moment_weight,
            "compared at a neighbourhood success of": found.level,
            "facts traced": found.trace.facts,
        },
        [asdict(point) | {"layers": str(list(point.layers))} for point in found.points],
        {
            "causal tracing": trace_figure(found.trace),
            "trials by layers": tuning_figure(found.points, found.level),
        },
    )


def write_settings(out: Path, settings: Mapping[str, Any], source: str) -> None:
    """A TOML file with a [method.memit] table."""
    plain = {k: v for k, v in settings.items() if not isinstance(v, Mapping)}
    tables = {k: v for k, v in settings.items() if isinstance(v, Mapping)}
    lines = [f"# {source}", "[method]", 'name = "memit"', "", "[method.memit]"]
    lines += [f"{key} = {toml(value)}" for key, value in plain.items()]
    for name, table in tables.items():
        lines += ["", f"[method.memit.{name}]", *(f"{k} = {toml(v)}" for k, v in table.items())]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def toml(value: Any) -> str:
    """A number, a text, a truth value or a list of them as TOML writes it (JSON is the same for these)."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
