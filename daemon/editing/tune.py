"""`factd tune`: from known facts to settings, and a page with the plots of the search."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.editing.candidates import Progress
from factd.daemon.errors import Refused
from factd.daemon.ledger import Ledger
from factd.daemon.prompts.edits import PromptSettings
from factd.editor.edits import ANY, Edit
from factd.editor.settings import settings_from
from factd.editor.tuning.presets import preset_for, presets
from factd.store import queries
from factd.store.model.facts import FactStatus

if TYPE_CHECKING:
    from factd.editor.tuning.search import Tuned


def known_facts_of_store(ledger: Ledger, prompts: PromptSettings, language: str) -> list[Edit]:
    """The known facts of the store in a language, in every wording of the catalogue.

    Raises: Refused: there are none.
    """
    with ledger.begin() as session:
        known = queries.facts.list_facts(session, status=(FactStatus.KNOWN,))
    rows = []
    for fact in known:
        wordings = prompts.catalogue[fact.relation].wordings.get(language)
        if wordings and language in fact.subject.labels and language in fact.object.labels:
            rows += [
                Edit(
                    prompt=prompt,
                    subject=fact.subject.labels[language],
                    target_new=ANY,
                    target_true=fact.object.labels[language],
                    language=language,
                )
                for prompt in (*wordings.edit, *wordings.check)
            ]
    if not rows:
        raise Refused(
            f"the store holds no known facts in {language!r}; "
            "give --facts FILE, or ingest some with `factd ingest FILE --known`"
        )
    return rows


def write_preset(model: Path, out: Path) -> dict[str, Any]:
    """Write the published settings of a model. Raises: Refused: there are none for this model."""
    from factd.editor.deltas.checkpoint import read_config  # needs torch
    from factd.editor.models.model import family_of

    family_of(model)
    preset = preset_for(read_config(model))
    if preset is None:
        held = ", ".join(p.name for p in presets())
        raise Refused(
            f"{model} has no published settings (there are some for {held}); leave --preset out"
        )
    write_settings(out, dict(preset.memit), preset.source)
    return {
        "preset": preset.name,
        "source": preset.source,
        "settings": dict(preset.memit),
        "out": str(out),
        "lines": [f"wrote {out}: {preset.name}, {preset.source}"],
    }


def tune_model(
    model: Path,
    rows: Sequence[Edit],
    out: Path,
    *,
    table: Mapping[str, Any],
    language: str,
    edits: int,
    progress: Progress,
) -> dict[str, Any]:
    """Search settings. Writes OUT (settings), OUT.json (all trials) and OUT.html (the plots)."""
    from factd.editor.methods._write import WriteSettings  # needs torch
    from factd.editor.models.model import load_model
    from factd.editor.tuning.search import known_facts, tune

    searched = ("layers", "v_lr", "second_moment_weight")
    kept = {k: v for k, v in table.items() if k not in (*searched, "protect_weight")}
    checked = settings_from(WriteSettings, {"layers": [0], **kept})
    facts = known_facts(row for row in rows if row.language == language)
    loaded = load_model(model)
    tuned = tune(
        loaded,
        facts,
        workspace=out.with_name(out.name + ".workspace"),
        given={k: getattr(checked, k) for k in kept},
        edits=edits,
        progress=progress,
    )
    settings = {**kept, **{k: tuned.settings[k] for k in searched}}
    write_settings(out, settings, f"factd tune {model.name}, {edits} edits in {language}")
    data = asdict(tuned) | {"settings": settings, "out": str(out)}
    out.with_suffix(".json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    page = out.with_suffix(".html")
    page.write_text(tuned_page(model, tuned), encoding="utf-8")
    best = (
        f"layers {list(tuned.layers)}, v_lr {tuned.v_lr:g}, "
        f"second_moment_weight {tuned.second_moment_weight:g}"
    )
    return data | {"lines": [f"wrote {out}: {best}", f"plots in {page}"]}


def tuned_page(model: Path, tuned: "Tuned") -> str:
    """The page of a search: causal tracing, curves, and all trials."""
    from factd.editor.reports.edit_page import table_page  # needs torch
    from factd.editor.reports.plots import trace_figure, tuning_figure

    return table_page(
        f"tuning {model.name}",
        {
            "layers": str(list(tuned.layers)),
            "v_lr": tuned.v_lr,
            "second_moment_weight": tuned.second_moment_weight,
            "compared at a neighbourhood success of": tuned.level,
            "facts traced": tuned.trace.facts,
        },
        [asdict(point) | {"layers": str(list(point.layers))} for point in tuned.points],
        {
            "causal tracing": trace_figure(tuned.trace),
            "trials by layers": tuning_figure(tuned.points, tuned.level),
        },
    )


def write_settings(out: Path, settings: Mapping[str, Any], source: str) -> None:
    """Write a TOML file with a [method.memit] table."""
    plain = {k: v for k, v in settings.items() if not isinstance(v, Mapping)}
    tables = {k: v for k, v in settings.items() if isinstance(v, Mapping)}
    lines = [f"# {source}", "[method]", 'name = "memit"', "", "[method.memit]"]
    lines += [f"{key} = {toml_value(value)}" for key, value in plain.items()]
    for name, table in tables.items():
        lines += [
            "",
            f"[method.memit.{name}]",
            *(f"{k} = {toml_value(v)}" for k, v in table.items()),
        ]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def toml_value(value: Any) -> str:
    """A number, string, boolean or list as TOML. For these, JSON is the same."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
