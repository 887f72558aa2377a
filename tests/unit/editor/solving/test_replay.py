"""Forward replay: each edited layer reaches its own target, and the ledger's promises hold."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from factd.editor import Edit, EditableModel, EditBatch, applied, load_model, plugins
from factd.editor.deltas.delta import Dense
from factd.editor.errors import BadSettings
from factd.editor.methods import alphaedit, emmet, memat, memit
from factd.editor.models.tokens import row
from factd.editor.moments.moments import Moments
from factd.editor.scoring.score import forced_scores
from factd.editor.solving.keys import KeyPrompt, read_keys, texts_of
from factd.editor.solving.layers import Solution, Solve, solve_layers
from factd.editor.solving.replay import replayed_streams
from factd.editor.tuning.trials import KnownFact, Place, Trials
from factd.editor.values.cache import folder_of
from factd.editor.values.values import group_values
from factd.reference import tiny
from support.golden_case import EDITS, SETTINGS
from support.paths import GOLDEN
from support.shared_artefacts import SharedArtefacts

LAYERS = (0, 1, 2)
REPLAY = replace(SETTINGS, layers=LAYERS, targets="replay")
SPREAD = replace(SETTINGS, layers=LAYERS)
FAMILIES = plugins.names("factd.editor.families")


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(GOLDEN / "llama" / "model")


@pytest.fixture
def workspace(kept: SharedArtefacts, tmp_path: Path) -> Path:
    kept.moments(tmp_path, GOLDEN / "llama" / "model", tokens=3000, layers=LAYERS)
    return tmp_path


def free(model: EditableModel, layers: Sequence[int]) -> Moments:
    """Second moments under which a tiny weight holds nothing in place."""
    eye = {n: torch.eye(model.weight(n).shape[1]) for n in layers}
    return Moments(layers=eye, tokens=1, source="test", fingerprint=model.fingerprint)


def solved(
    model: EditableModel,
    edits: Sequence[Edit],
    values: torch.Tensor,
    layers: Sequence[int] = LAYERS,
    **more: Any,
) -> Solution:
    given: dict[str, Any] = {"templates": {}, "replayed": True} | more
    moments, solver = free(model, layers), memit.solver(1e-9)
    return solve_layers(
        model, Solve(edits=edits, values=values, moments=moments, solver=solver, **given)
    )


def stream(model: EditableModel, edit: Edit, layer: int, prefix: str = "") -> torch.Tensor:
    """Where an edit's prompt stands behind a layer at the subject's last token, (d,)."""
    read = row(model.tokenizer, edit.prompt, edit.subject, prefix=prefix)
    ids = torch.tensor([read.ids[: read.subject + 1]])
    with torch.no_grad():
        here: torch.Tensor = model.run(model.embed(ids), 0, layer + 1)[0, -1].float()
    return here


def replayed(
    model: EditableModel, edit: Edit, move: torch.Tensor, layers: Sequence[int], prefix: str = ""
) -> dict[int, torch.Tensor]:
    """The targets (d,) of an edit behind each layer, one block after the other."""
    read = row(model.tokenizer, edit.prompt, edit.subject, prefix=prefix)
    ids = torch.tensor([read.ids[: read.subject + 1]])
    targets = {}
    with torch.no_grad():
        hidden = model.run(model.embed(ids), 0, layers[0] + 1).clone()
        hidden[0, -1] += move.to(hidden.dtype)
        for layer in range(layers[0], layers[-1] + 1):
            if layer > layers[0]:
                hidden = model.run(hidden, layer, layer + 1)
            targets[layer] = hidden[0, -1].float()
    return targets


def random_values(model: EditableModel, edits: Sequence[Edit], layer: int) -> torch.Tensor:
    """Values (edits, d) that lie half a norm from where the edits stand behind a layer."""
    here = torch.stack([stream(model, edit, layer) for edit in edits])
    step = torch.randn(here.shape, generator=torch.Generator().manual_seed(3))
    size: torch.Tensor = 0.5 * here.norm(dim=1, keepdim=True) / step.norm(dim=1, keepdim=True)
    return here + size * step


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def worst_gap(
    model: EditableModel,
    edits: Sequence[Edit],
    values: torch.Tensor,
    solution: Solution,
    layers: Sequence[int] = LAYERS,
    prefix: str = "",
) -> float:
    """The largest relative gap between an edit's stream behind a layer and its target there."""
    moves = [z - stream(model, e, layers[0]) for e, z in zip(edits, values, strict=True)]
    targets = [replayed(model, e, m, layers, prefix) for e, m in zip(edits, moves, strict=True)]
    weights = [(model.weight(n), model.weight(n).clone()) for n in layers]
    for (weight, _), layer in zip(weights, layers, strict=True):
        part = solution.parts[model.parameter(layer)].matrix()
        weight.data += (part.T if model.family.transposed else part).to(weight.dtype)
    try:
        return max(
            gap(stream(model, e, layer, prefix), targets[i][layer])
            for i, e in enumerate(edits)
            for layer in layers
        )
    finally:
        for weight, before in weights:
            weight.data.copy_(before)


def test_with_free_weights_the_stream_behind_each_edited_layer_reaches_its_target(
    model: EditableModel,
) -> None:
    edits = EDITS[:5]
    z = random_values(model, edits, LAYERS[0])
    assert worst_gap(model, edits, z, solved(model, edits, z)) < 1e-3
    spread = solved(model, edits, z, replayed=False)
    assert worst_gap(model, edits, z, spread) > 0.1  # the control
    assert worst_gap(model, edits, z, nothing(spread)) > 0.1  # and the base


def nothing(solution: Solution) -> Solution:
    """A solution that changes nothing."""
    parts = {name: Dense(torch.zeros_like(p.matrix())) for name, p in solution.parts.items()}
    return Solution({**parts}, {}, {})


def test_layers_between_the_edited_ones_are_replayed_too(model: EditableModel) -> None:
    edits, layers = EDITS[:4], (0, 2)
    z = random_values(model, edits, 0)
    assert worst_gap(model, edits, z, solved(model, edits, z, layers), layers) < 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_reaches_its_targets_or_comes_nearer_behind_a_norm(
    family: str, tmp_path: Path
) -> None:
    model = load_model(tiny.make(family, tmp_path / family))
    edits, layers = tiny.EDITS[:3], (1, 2)
    z = random_values(model, edits, layers[0])
    found = solved(model, edits, z, layers)
    if model.family.mlp_norm is None:
        assert worst_gap(model, edits, z, found, layers) < 1e-3
    else:  # the norm fixes how far the MLP can move the stream
        base = worst_gap(model, edits, z, nothing(found), layers)
        assert worst_gap(model, edits, z, found, layers) < 0.9 * base


def test_a_prefixed_row_has_a_replay_of_its_own(model: EditableModel) -> None:
    prefix = "The report was long"
    edits = [replace(e, prompt="{} is from") for e in EDITS[:3]]
    z = random_values(model, edits, 0)
    found = solved(model, edits, z, templates={"en": (prefix,)}, split_openings=True)
    assert worst_gap(model, edits, z, found) < 1e-2
    assert worst_gap(model, edits, z, found, prefix=prefix) < 1e-2


def test_in_bfloat16_the_targets_are_reached_to_its_precision(model: EditableModel) -> None:
    low, edits = load_model(model.path, dtype="bfloat16"), EDITS[:4]
    z = random_values(low, edits, 0)
    assert worst_gap(low, edits, z, solved(low, edits, z)) < 0.03


def test_a_replay_does_not_depend_on_the_rows_beside_it(model: EditableModel) -> None:
    prompts = [KeyPrompt(prompt=e.prompt, subject=e.subject, language="en") for e in EDITS[:6]]
    moves = torch.randn(6, model.weight(0).shape[0], generator=torch.Generator().manual_seed(1))
    together = replayed_streams(model, texts_of(model, prompts, {}), moves, LAYERS)
    for i, prompt in enumerate(prompts):
        alone = replayed_streams(model, texts_of(model, [prompt], {}), moves[i : i + 1], LAYERS)
        assert torch.equal(alone[0], together[i])
    still = replayed_streams(model, texts_of(model, prompts, {}), 0 * moves, LAYERS)
    for number, layer in enumerate(LAYERS):
        base = read_keys(model, prompts, {}, layer=layer, z_layer=layer).stream
        assert torch.allclose(still[:, number], base, atol=1e-5)
    assert not torch.allclose(still, together, atol=0.1)


@pytest.mark.parametrize("method", [memit, emmet, alphaedit, memat])
def test_with_one_layer_replay_and_spread_give_the_same_weights(
    method: Any, model: EditableModel, workspace: Path
) -> None:
    values = {"v_lr": 0.3, "v_num_grad_steps": 4, "second_moment_tokens": 3000}
    needed: dict[Any, dict[str, Any]] = {
        memit: {"second_moment_weight": 30.0},
        memat: {"second_moment_weight": 30.0, "head_languages": ("en",), "heads": "none"},
    }
    own = needed.get(method, {})
    batch = EditBatch.of(EDITS[:3])
    deltas = {}
    for layers in ((1,), (0, 1)):
        for targets in ("spread", "replay"):
            settings = method.Settings(
                layers=layers, targets=targets, templates=SETTINGS.templates, **values, **own
            )
            deltas[layers, targets] = method.edit(
                model, batch, settings=settings, workspace=workspace
            )
    name = model.parameter(1)
    assert torch.equal(
        deltas[(1,), "spread"].parts[name].matrix(), deltas[(1,), "replay"].parts[name].matrix()
    )
    assert not torch.allclose(
        deltas[(0, 1), "spread"].parts[name].matrix(),
        deltas[(0, 1), "replay"].parts[name].matrix(),
        atol=1e-4,
    )


def test_the_same_set_gives_the_same_bytes_and_a_withdrawn_fact_was_never_written(
    model: EditableModel, workspace: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chosen = replace(REPLAY, share_wordings=True, split_openings=True)
    edits = [*EDITS[:4], replace(EDITS[0], prompt="{} speaks", group="one")]
    edits[0] = replace(edits[0], group="one")

    def wrote(rows: Sequence[Edit], folder: Path) -> str:
        batch = EditBatch.of(rows)
        return memit.edit(model, batch, settings=chosen, workspace=folder).id

    first = wrote(edits, workspace)
    without = wrote(edits[:3] + edits[4:], workspace)  # the fourth is withdrawn
    fresh = tmp_path_factory.mktemp("fresh")
    assert wrote(edits[4:] + edits[2::-1], fresh) == without
    assert wrote(edits[::-1], fresh) == first
    assert first != without


def test_an_edit_by_replay_raises_its_targets_and_every_bit_is_put_back(
    model: EditableModel, workspace: Path
) -> None:
    before = {k: v.clone() for k, v in model.model.state_dict().items()}
    batch = EditBatch.of(EDITS[:4])
    delta = memit.edit(model, batch, settings=REPLAY, workspace=workspace)
    assert all(torch.equal(before[k], v) for k, v in model.model.state_dict().items())
    asked = [(e.prompt.format(e.subject), e.target_new) for e in batch.edits]
    old = [nll for nll, _ in forced_scores(model, asked)]
    with applied(model, delta):
        new = [nll for nll, _ in forced_scores(model, asked)]
    assert all(n < o for n, o in zip(new, old, strict=True))


def test_only_a_replayed_delta_names_its_targets_so_older_ids_stay(
    model: EditableModel, workspace: Path
) -> None:
    batch = EditBatch.of(EDITS[:1])
    spread = memit.edit(model, batch, settings=SPREAD, workspace=workspace)
    replay = memit.edit(model, batch, settings=REPLAY, workspace=workspace)
    assert "targets" not in spread.settings
    assert replay.settings["targets"] == "replay"
    assert json.dumps(dict(spread.settings)) != json.dumps(dict(replay.settings))


def test_a_replayed_value_is_the_value_of_its_first_layer(
    model: EditableModel, tmp_path: Path
) -> None:
    folders = {
        name: folder_of(model, EDITS[:1], settings.values(settings.templates), tmp_path)
        for name, settings in {
            "replay": REPLAY,
            "spread": SPREAD,
            "first layer alone": replace(SPREAD, layers=(0,)),
        }.items()
    }
    assert folders["replay"] == folders["first layer alone"]
    assert folders["replay"] != folders["spread"]


def test_an_interrupted_replay_resumes_and_gives_the_same_bytes(
    model: EditableModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factd.editor.solving.chunks.ON_DISK_ROWS", 1)
    monkeypatch.setattr("factd.editor.solving.chunks.CHUNK_ROWS", 2)
    edits = EDITS[:5]
    z = random_values(model, edits, 0)
    whole = solved(model, edits, z, unfinished=tmp_path / "other")

    class Stopped(RuntimeError):
        """The test's interruption."""

    def stop(_: str, done: int, __: int) -> None:
        if done == 2:
            raise Stopped

    solve = Solve(
        edits=edits,
        values=z,
        moments=free(model, LAYERS),
        templates={},
        solver=memit.solver(1e-9),
        replayed=True,
        unfinished=tmp_path / "this",
    )
    with pytest.raises(Stopped):
        solve_layers(model, solve, progress=stop)
    again = solve_layers(model, solve)
    for name, part in whole.parts.items():
        assert torch.equal(part.matrix(), again.parts[name].matrix())
    assert whole.diagnostics == again.diagnostics


def test_the_search_for_settings_measures_its_step_where_the_value_is(
    model: EditableModel, workspace: Path
) -> None:
    facts = [KnownFact(edit=e, paraphrases=()) for e in EDITS[:3]]
    given = {"second_moment_tokens": 3000, "templates": {"en": ["The report was long"]}}

    def step(layers: tuple[int, ...], targets: str = "spread") -> float:
        place = Place(layers=layers, targets=targets)
        return Trials(model, facts, (), given, workspace).scale(place).step

    assert step(LAYERS, "replay") == pytest.approx(step((0,)))
    assert step(LAYERS) != pytest.approx(step((0,)))


def test_other_words_for_targets_are_refused() -> None:
    with pytest.raises(BadSettings, match='"spread" or "replay", not "forward"'):
        replace(SETTINGS, targets="forward")


def test_group_values_of_a_replay_are_found_at_its_first_layer(model: EditableModel) -> None:
    found = group_values(model, EDITS[:1], REPLAY.values(REPLAY.templates))
    alone = replace(SPREAD, layers=(0,))
    assert torch.equal(found, group_values(model, EDITS[:1], alone.values(alone.templates)))
