"""The training script: seeded, resumable, and its output loads with `from_pretrained`."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from factd.reference.text import TrainingWorld, make_world
from factd.reference.train import Recipe, Training, new_model, train_tokenizer, write_model
from factd.reference.world import facts_1998
from factd.store.catalogue.catalogue import load_catalogue

TINY = Recipe(vocabulary=400, width=16, mlp=32, blocks=2, heads=2, rows=4, steps=4, warmup=1)


@pytest.fixture(scope="module")
def small_world() -> TrainingWorld:
    claims = facts_1998()
    world = make_world(claims, load_catalogue())
    return TrainingWorld(catalogue=world.catalogue, claims=tuple(claims[:12]), names=world.names)


def trained(world: TrainingWorld, work: Path, recipe: Recipe) -> Training:
    """A tiny run in a folder of its own."""
    work.mkdir(exist_ok=True)
    tokenizer = train_tokenizer(world, recipe)
    run = Training(recipe, world, tokenizer, new_model(recipe), work, "cpu")
    run.run()
    return run


def weights(run: Training) -> list[torch.Tensor]:
    return [p.detach().clone() for p in run.model.parameters()]


def test_the_same_seed_gives_the_same_weights(small_world: TrainingWorld, tmp_path: Path) -> None:
    first = weights(trained(small_world, tmp_path / "a", TINY))
    again = weights(trained(small_world, tmp_path / "b", TINY))
    other = weights(trained(small_world, tmp_path / "c", replace(TINY, seed=5)))
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert not all(torch.equal(x, y) for x, y in zip(first, other, strict=True))


def test_an_interrupted_training_goes_on_where_it_was(
    small_world: TrainingWorld, tmp_path: Path
) -> None:
    whole = weights(trained(small_world, tmp_path / "whole", TINY))
    work = tmp_path / "parts"
    work.mkdir()
    tokenizer = train_tokenizer(small_world, TINY)
    part = Training(TINY, small_world, tokenizer, new_model(TINY), work, "cpu")
    part.run(until=2)
    again = Training(TINY, small_world, tokenizer, new_model(TINY), work, "cpu")
    again.run()
    assert all(torch.equal(x, y) for x, y in zip(whole, weights(again), strict=True))


def test_a_checkpoint_of_another_recipe_is_refused(
    small_world: TrainingWorld, tmp_path: Path
) -> None:
    trained(small_world, tmp_path / "a", TINY)
    with pytest.raises(SystemExit, match="another recipe"):
        trained(small_world, tmp_path / "a", replace(TINY, muon_lr=0.01))


def test_the_written_model_loads_as_any_other(small_world: TrainingWorld, tmp_path: Path) -> None:
    run = trained(small_world, tmp_path / "a", TINY)
    write_model(run.model, run.tokenizer, tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert model.dtype == torch.bfloat16
    ids = tokenizer("Croatia", return_tensors="pt")["input_ids"]
    assert ids[0, 0] == tokenizer.bos_token_id
    assert model(input_ids=ids).logits.shape[-1] == TINY.vocabulary
