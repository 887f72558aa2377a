"""Where settings come from: given, kept, preset, or a search whose result is kept."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from factd.daemon.editing.settings import SettingsChain, tunings_folder
from factd.daemon.editing.tune import facts_to_tune_on
from factd.editor.errors import BadSettings
from factd.editor.methods import alphaedit, memit, rome
from factd.editor.settings import settings_from
from factd.editor.tuning.kept import KeptTuning, KeptTunings, stamped
from factd.store.catalogue.catalogue import packaged
from factd.store.catalogue.common_facts import common_facts

FOUND = {"layers": [2, 3], "targets": "replay", "v_lr": 0.4, "second_moment_weight": 50.0}
WHOLE = {"layers": [0], "second_moment_weight": 9.0}
PRESET = {"model_type": "gpt2", "n_embd": 1600, "n_layer": 48}


def tuning(fingerprint: str = "f1", **settings: object) -> KeptTuning:
    return KeptTuning(
        fingerprint=fingerprint,
        method="memit",
        source="factd tune, 3 trials",
        settings={**FOUND, **settings},
    )


def no_search() -> KeptTuning:
    raise AssertionError("nothing is searched here")


def chain(folder: Path, **more: object) -> SettingsChain:
    """A chain with an empty cache, on a model without a preset."""
    given: dict[str, object] = {
        "method": "memit",
        "model": folder / "model",
        "kept": (KeptTunings(folder / "kept"),),
        "search": no_search,
    }
    return SettingsChain(**{**given, **more})  # type: ignore[arg-type]


def preset_model(folder: Path) -> Path:
    model = folder / "gpt2-xl"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(PRESET))
    return model


def test_whole_settings_are_taken_as_they_are_given(tmp_path: Path) -> None:
    KeptTunings(tmp_path / "kept").save(tuning())
    found = chain(tmp_path).find(WHOLE, "--set", "f1")
    assert found.table == WHOLE
    assert found.source == "--set"


def test_a_kept_tuning_of_the_model_comes_before_its_preset(tmp_path: Path) -> None:
    KeptTunings(tmp_path / "kept").save(tuning())
    found = chain(tmp_path, model=preset_model(tmp_path)).find({}, "", "f1")
    assert found.table == FOUND
    assert found.source == "the kept tuning: factd tune, 3 trials"
    other = chain(tmp_path, model=tmp_path / "gpt2-xl").find({}, "", "another model")
    assert other.table["layers"] == [13, 14, 15, 16, 17]
    assert "the preset gpt2-xl (arXiv" in other.source


def test_part_of_the_settings_goes_over_those_that_are_found(tmp_path: Path) -> None:
    KeptTunings(tmp_path / "kept").save(tuning())
    found = chain(tmp_path).find({"v_lr": 0.7}, "--set", "f1")
    assert found.table == {**FOUND, "v_lr": 0.7}
    assert found.source == "--set, over the kept tuning: factd tune, 3 trials"


def test_a_search_is_the_last_source_and_can_be_asked_for(tmp_path: Path) -> None:
    searched = tuning(v_lr=0.1)
    found = chain(tmp_path, search=lambda: searched).find({}, "", "f1")
    assert found.table["v_lr"] == 0.1
    assert found.source.startswith("a search just now: factd tune")
    KeptTunings(tmp_path / "kept").save(tuning())
    again = chain(tmp_path, search=lambda: searched, always_search=True).find({}, "", "f1")
    assert again.table["v_lr"] == 0.1


def test_what_no_source_has_is_named_before_a_search(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="unknown setting 'v_lrr'"):
        chain(tmp_path).find({"v_lrr": 1}, "--set", "f1")
    with pytest.raises(BadSettings, match="'head_languages' is missing"):
        chain(tmp_path, method="memat").find({}, "", "f1")
    with pytest.raises(BadSettings, match="v_lr must be above 0"):
        chain(tmp_path).find({"v_lr": -1.0}, "--set", "f1")


def test_other_methods_take_what_they_know_of_memits_settings(tmp_path: Path) -> None:
    KeptTunings(tmp_path / "kept").save(tuning())
    one = chain(tmp_path, method="rome").find({}, "", "f1").table
    assert settings_from(rome.Settings, one).layers == (2,)  # where a replay has its values
    all_ = chain(tmp_path, method="alphaedit").find({}, "", "f1").table
    assert settings_from(alphaedit.Settings, all_).layers == (2, 3)
    spread = KeptTunings(tmp_path / "spread")
    spread.save(tuning(targets="spread"))
    last = chain(tmp_path, method="rome", kept=(spread,)).find({}, "", "f1").table
    assert last["layers"] == [3]


@pytest.mark.parametrize(
    "content",
    ["not TOML at all [", "", "[tuning]\n", "layers", '[tuning]\nmethod = "memit"\n[method]\n'],
)
def test_a_damaged_kept_file_is_set_aside_with_a_sentence(content: str, tmp_path: Path) -> None:
    kept = KeptTunings(tmp_path / "kept")
    path = kept.save(tuning())
    path.write_text(content)
    found = chain(tmp_path, search=lambda: tuning(v_lr=0.1)).find({}, "", "f1")
    assert found.table["v_lr"] == 0.1
    (sentence,) = found.notes
    assert "cannot be used" in sentence and "memit.toml.damaged-1" in sentence
    assert not path.exists()
    assert path.with_name("memit.toml.damaged-1").read_text() == content
    kept.save(tuning())
    path.write_text("again [")
    chain(tmp_path, search=lambda: tuning(v_lr=0.1)).find({}, "", "f1")
    assert path.with_name("memit.toml.damaged-2").exists()


def test_a_kept_file_whose_settings_the_method_refuses_is_set_aside(tmp_path: Path) -> None:
    KeptTunings(tmp_path / "kept").save(tuning(v_lr=-1.0))
    found = chain(tmp_path, search=tuning).find({}, "", "f1")
    assert "v_lr must be above 0" in found.notes[0]


def test_a_kept_tuning_reads_as_it_was_written(tmp_path: Path) -> None:
    kept = KeptTunings(tmp_path)
    languages = {"en": ("The report was long",), "zh-Hant": ("x",)}
    path = kept.save(tuning(terminator=".", templates=languages))
    assert path == tmp_path / "f1" / "memit.toml"
    read = kept.read("f1", "memit")
    assert read is not None and read.source == "factd tune, 3 trials"
    settings = settings_from(memit.Settings, read.settings)
    assert settings.layers == (2, 3)
    assert settings.templates == languages
    assert kept.read("f2", "memit") is None
    assert not [*tmp_path.rglob("*.tmp")]
    assert stamped("a search", datetime(2026, 11, 27, tzinfo=UTC)) == "a search, 2026-11-27"


def test_tunings_lie_in_the_users_cache(tmp_path: Path) -> None:
    assert tunings_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "factd" / "tunings"
    home = tunings_folder({"XDG_CACHE_HOME": "relative"})
    assert home == Path.home() / ".cache" / "factd" / "tunings"


def test_nothing_is_tuned_on_that_is_reported_on() -> None:
    every = facts_to_tune_on(packaged(), "en", asked=())
    subjects = {edit.subject for edit in every}
    assert {"France", "The Eiffel Tower", "Croatia"} <= subjects
    asked = ["The capital of France is", "croatia"]
    left = {edit.subject for edit in facts_to_tune_on(packaged(), "en", asked=asked)}
    assert subjects - left == {"France", "Croatia"}


def test_common_facts_are_many_of_many_relations_and_have_other_wordings() -> None:
    facts = common_facts(packaged(), "en")
    assert len(facts) > 800
    assert len({fact.prompts[0] for fact in facts}) > 15
    assert all(len(fact.prompts) > 1 for fact in facts)
    assert all(prompt.count("{}") == 1 for fact in facts for prompt in fact.prompts)
    known = {(fact.subject, fact.object) for fact in facts}
    assert {("Japan", "Japanese yen"), ("France", "Paris"), ("Kenya", "Africa")} <= known
    spanish = {(f.subject, f.object) for f in common_facts(packaged(), "es")}
    assert ("Alemania", "Europa") in spanish
    assert common_facts(packaged(), "xx") == ()


def test_a_language_with_few_facts_gets_the_english_ones_too() -> None:
    languages = {edit.language for edit in facts_to_tune_on(packaged(), "eu", asked=())}
    assert languages == {"en"}
    assert {e.language for e in facts_to_tune_on(packaged(), "ca", asked=())} == {"ca"}
