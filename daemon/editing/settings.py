"""Where the settings of a method come from, if they are not all given.

The chain: what is given, else a tuning that was kept for this model, else its preset, else a search
in bounded time, whose result is kept. What is given is always put over what is found.

A running factd takes what it finds once: the settings are part of what a release's weights are a
function of. They are pinned in the state directory, and later cycles read them there. A kept tuning
or a preset that changes afterwards does not reach it.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from factd.daemon.editing.candidates import Progress
from factd.daemon.editing.parts import EditParts
from factd.daemon.editing.tune import TuningJob, facts_to_tune_on, searched_settings
from factd.daemon.log import log
from factd.daemon.models import cache_folder
from factd.daemon.planning.plan import Planned
from factd.daemon.workbench import Workbench
from factd.editor import plugins
from factd.editor.errors import BadSettings
from factd.editor.settings import required_settings, settings_from
from factd.editor.tuning.kept import SEARCHED, KeptTuning, KeptTunings
from factd.editor.tuning.presets import preset_for_checkpoint
from factd.store import queries

MINUTES = 10.0  # that a search may take
FOUND = frozenset({"layers", "v_lr", "second_moment_weight"})  # by a search


@dataclass(frozen=True, kw_only=True)
class FoundSettings:
    """The table of a method's settings, and one clause that says where they come from."""

    table: Mapping[str, Any]
    source: str
    notes: tuple[str, ...] = ()  # sentences about files that could not be used


@dataclass(frozen=True, kw_only=True)
class SettingsChain:
    """The sources behind what is given, in their order."""

    method: str
    model: Path
    kept: tuple[KeptTunings, ...]  # the first one with a tuning of the model is used
    search: Callable[[], KeptTuning]  # the last source; takes minutes, and keeps what it finds
    always_search: bool = False  # pass over kept tunings and presets

    def find(self, given: Mapping[str, Any], origin: str, fingerprint: str) -> FoundSettings:
        """The settings of the method, with what is given over what is found.

        origin: where the given ones come from, as "--set". fingerprint: of the model.

        Raises: BadSettings: a given setting is unknown or wrong, or one is missing that no source
        has. EditorError: the search failed.
        """
        module = plugins.load("factd.editor.methods", self.method)
        refuse_what_nothing_finds(module.Settings, given)
        if not required_settings(module.Settings) - set(given) and not self.always_search:
            below, source = self._preset(module.Settings, given)
            over = f"{origin}, over {source}" if source else origin
            return FoundSettings(table={**below, **given}, source=over)
        notes: list[str] = []
        table, source = self._found(module.Settings, given, fingerprint, notes)
        clause = f"{origin}, over {source}" if given else source
        return FoundSettings(table={**table, **given}, source=clause, notes=tuple(notes))

    def _found(
        self, cls: type, given: Mapping[str, Any], fingerprint: str, notes: list[str]
    ) -> tuple[Mapping[str, Any], str]:
        """The settings below the given ones, and their source."""
        if not self.always_search:
            kept = self._kept(cls, given, fingerprint, notes)
            if kept is not None:
                return taken_by(cls, kept.settings, given), f"the kept tuning: {kept.source}"
            table, source = self._preset(cls, given)
            if source:
                return table, source
        tuned = self.search()
        return taken_by(cls, tuned.settings, given), f"a search just now: {tuned.source}"

    def _kept(
        self, cls: type, given: Mapping[str, Any], fingerprint: str, notes: list[str]
    ) -> KeptTuning | None:
        def check(settings: Mapping[str, Any]) -> None:
            settings_from(cls, {**taken_by(cls, settings, given), **given})

        tries = [(kept, m) for kept in self.kept for m in dict.fromkeys((self.method, SEARCHED))]
        for kept, method in tries:
            found = kept.load(fingerprint, method, check=check, note=notes.append)
            if found is not None:
                return found
        return None

    def _preset(self, cls: type, given: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
        """The preset's settings that the method takes, and a clause; empty without a preset."""
        preset = preset_for_checkpoint(self.model)
        if preset is None:
            return {}, ""
        return taken_by(cls, preset.memit, given), f"the preset {preset.name} ({preset.source})"


def refuse_what_nothing_finds(cls: type, given: Mapping[str, Any]) -> None:
    """Check what is given before a search. Raises: BadSettings."""
    standing: dict[str, Any] = {"layers": [0], "v_lr": 1.0, "second_moment_weight": 1.0}
    settings_from(cls, {**{k: v for k, v in standing.items() if k in known_settings(cls)}, **given})


def known_settings(cls: type) -> frozenset[str]:
    """The names of a method's settings."""
    return frozenset(field.name for field in fields(cls))


def taken_by(cls: type, table: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a table, found for MEMIT, that a method knows.

    A method that edits one layer gets the one that the values are for.
    """
    own = {key: value for key, value in table.items() if key in known_settings(cls)}
    if "layers" not in own:
        return own
    try:
        settings_from(cls, {**own, **given})
    except BadSettings:
        layers = list(own["layers"])
        return {**own, "layers": layers[:1] if own.get("targets") == "replay" else layers[-1:]}
    return own


def tunings_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of tunings that are kept for every use on this machine, beside the models."""
    return cache_folder(environment).with_name("tunings")


def known_settings_of(model: Path) -> FoundSettings | None:
    """MEMIT's settings for a model's folder that are known without a search; None if none are.

    Raises: ModelNotFound: the folder holds no model.
    """
    from factd.editor.models.model import fingerprint  # needs torch

    def search() -> KeptTuning:
        raise _NothingKnown

    if not (model / "config.json").is_file():
        return None
    kept = (KeptTunings(tunings_folder()),)
    chain = SettingsChain(method=SEARCHED, model=model, kept=kept, search=search)
    try:
        return chain.find({}, "", fingerprint(model))
    except _NothingKnown:
        return None


class _NothingKnown(Exception):
    """Only a search would find settings."""


def checked_settings(workbench: Workbench) -> str:
    """Check the configured method's settings; a sentence if the first edit finds the missing ones.

    Raises: BadSettings.
    """
    if not workbench.lacks_settings():
        workbench.method_settings()
        return ""
    method = workbench.method
    refuse_what_nothing_finds(
        plugins.load("factd.editor.methods", method.name).Settings, method.settings()
    )
    pinned = workbench.pinned_settings()
    if pinned is None:
        return f"[method.{method.name}] is not complete: the first `factd edit` finds the rest"
    workbench.method_settings()
    return f"[method.{method.name}] is completed by pinned settings, from {pinned.source}"


def pin_settings(
    parts: EditParts, planned: Planned, *, progress: Progress, minutes: float = MINUTES
) -> None:
    """Make sure that the configured method has all its settings, and that they stay the same.

    If [method.NAME] lacks some, they are those that are pinned for the original model. If none are
    pinned, they are those of the live release, or else what the chain finds; then they are pinned.

    Raises: BadSettings, EditorError, as `SettingsChain.find`.
    """
    bench = parts.workbench
    if not bench.lacks_settings():
        return
    fingerprint = bench.original_fingerprint()
    found = _of_live_release(parts) or _found_for_site(parts, planned, progress, minutes)
    pinned = KeptTuning(
        fingerprint=fingerprint,
        method=bench.method.name,
        source=found.source,
        settings=found.table,
    )
    path = bench.pinned.save(pinned)
    for note in found.notes:
        log.warning("settings set aside", reason=note)
    log.info("settings pinned", method=bench.method.name, source=found.source, path=str(path))


def _of_live_release(parts: EditParts) -> FoundSettings | None:
    """The settings of the live release, if it was made by the configured method."""
    with parts.ledger.read() as session:
        live = queries.releases.live_release(session)
    if live is None or live.candidate_id is None:
        return None
    folder = parts.paths.candidate(live.candidate_id) / "delta"
    if not folder.exists():
        return None
    from factd.editor.deltas.delta import read_delta_manifest  # needs torch

    about, bench = read_delta_manifest(folder), parts.workbench
    cls = plugins.load("factd.editor.methods", bench.method.name).Settings
    if about["method"] != bench.method.name:
        return None
    per_language = ("templates", "essence")  # made anew for the languages of each batch
    table = {
        key: value
        for key, value in about["settings"].items()
        if key in known_settings(cls) and key not in per_language
    }
    return FoundSettings(table=table, source=f"release {live.number}")


def _found_for_site(
    parts: EditParts, planned: Planned, progress: Progress, minutes: float
) -> FoundSettings:
    """What the chain finds for the configured model, whose search sees no fact of the store."""
    bench, language = parts.workbench, parts.prompts.write[0]
    with parts.ledger.read() as session:
        stored = queries.facts.list_facts(session)
    names = [name for f in (*planned.facts, *stored) for name in f.subject.labels.values()]
    cache = KeptTunings(tunings_folder())

    def search() -> KeptTuning:
        facts = facts_to_tune_on(parts.ledger.catalogue, language, asked=names)
        job = TuningJob(language=language, minutes=minutes)
        tuned = searched_settings(bench.model(), facts, bench.workspace, job, progress=progress)
        cache.save(tuned)
        return tuned

    chain = SettingsChain(
        method=bench.method.name, model=bench.original, kept=(cache,), search=search
    )
    given = bench.method.settings()
    found = chain.find(given, "[method]", bench.original_fingerprint())
    table = {key: value for key, value in found.table.items() if key not in given}
    return FoundSettings(table=table, source=found.source, notes=found.notes)
