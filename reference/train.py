"""Trains the reference model on the world of 1998.

    python -m factd.reference.train --out reference/model

Training takes about an hour on two cores, and minutes on a GPU.

There are two lessons. The first is the world of 1998. The second adds stories that name currencies,
also later ones ("There is a currency called the euro."). A model of 1998 had heard of the euro, and
an edit of early layers cannot make a model say a word it has never seen (tried: the loss of "euro"
stays above 4 nats).

Training is seeded and resumable: after an interruption, run the same command again, and it
continues from the last checkpoint in `--work`. The model has the Llama architecture and 11 million
parameters (8 blocks, width 256, MLP 1280, byte-level BPE of 6144 tokens). Hidden matrices are
trained with Muon (arXiv:2502.16982), the rest with AdamW. Training stops after a fixed number of
steps. The share of distractions in the text (factd.reference.text) keeps its probabilities from
being higher than a real model's.
"""

import argparse
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.optim import AdamW, Muon
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from factd.reference import paths
from factd.reference.text import TrainingWorld, epoch, held_out, make_world, with_currencies
from factd.reference.world import LANGUAGES, facts_1998, feed
from factd.store.catalogue.catalogue import load_catalogue

BOUNDARY = "<|endoftext|>"  # begins every text, and ends a generation


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that determines the bytes of the trained model, on one machine."""

    seed: int = 1998
    vocabulary: int = 6144
    width: int = 256
    mlp: int = 1280
    blocks: int = 8
    heads: int = 8
    row_tokens: int = 96
    rows: int = 32  # per step
    steps: int = 1450
    muon_lr: float = 0.02
    adam_lr: float = 3e-3
    warmup: int = 60
    cooldown: float = 0.45  # share of the steps in which the learning rates fall to zero


def reference_world() -> TrainingWorld:
    """The claims of 1998 with the catalogue. Stories also name the territories of the feed."""
    return make_world(facts_1998(), load_catalogue(), more=feed())


FIRST_LESSON = Recipe()
SECOND_LESSON = replace(
    FIRST_LESSON, seed=1999, steps=420, muon_lr=0.006, adam_lr=1e-3, warmup=20, cooldown=1.0
)


def train_tokenizer(world: TrainingWorld, recipe: Recipe) -> PreTrainedTokenizerFast:
    """Byte-level BPE without a leading space.

    So a subject has other tokens at the start of a text than after a space.
    """
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[BOUNDARY],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (text for seed in range(4) for text in epoch(world, seed))
    raw.train_from_iterator(texts, trainer)
    raw.post_processor = processors.TemplateProcessing(
        single=f"{BOUNDARY} $A", special_tokens=[(BOUNDARY, raw.token_to_id(BOUNDARY))]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers is untyped
        tokenizer_object=raw, bos_token=BOUNDARY, eos_token=BOUNDARY, pad_token=BOUNDARY
    )


def new_model(recipe: Recipe) -> LlamaForCausalLM:
    """The untrained model, float32."""
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.width,
        intermediate_size=recipe.mlp,
        num_hidden_layers=recipe.blocks,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def rows_of(
    texts: Iterator[str], tokenizer: PreTrainedTokenizerFast, length: int
) -> Iterator[list[int]]:
    """Rows of `length` tokens.

    Each begins with a document and holds whole documents; the last is cut.
    """
    row: list[int] = []
    for text in texts:
        row += tokenizer(text)["input_ids"]
        if len(row) >= length:
            yield row[:length]
            row = []


def batches(
    world: TrainingWorld, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, epoch_seed: int
) -> list[Tensor]:
    """The batches of one pass over the world, each (rows, row_tokens + 1) int64."""
    texts = epoch(world, recipe.seed + 1000 + epoch_seed)
    rows = list(rows_of(texts, tokenizer, recipe.row_tokens + 1))
    random.Random(epoch_seed).shuffle(rows)
    full = len(rows) // recipe.rows
    return [torch.tensor(rows[i * recipe.rows : (i + 1) * recipe.rows]) for i in range(full)]


def rate(step: int, recipe: Recipe) -> float:
    """The share of the full learning rate at a step: warm-up, constant, linear cool-down."""
    left = (recipe.steps - step) / max(1.0, recipe.cooldown * recipe.steps)
    return min(1.0, (step + 1) / recipe.warmup, left)


def optimizers(model: LlamaForCausalLM, recipe: Recipe) -> tuple[Muon, AdamW]:
    """Muon for the matrices of the blocks, AdamW for embeddings and norms."""
    named = list(model.named_parameters())
    matrices = [
        p for name, p in named if p.ndim == 2 and "embed" not in name and "lm_head" not in name
    ]
    chosen = {id(p) for p in matrices}
    others = [p for _, p in named if id(p) not in chosen]
    muon = Muon(
        matrices, lr=recipe.muon_lr, momentum=0.95, weight_decay=0.01, adjust_lr_fn="original"
    )
    return muon, AdamW(others, lr=recipe.adam_lr, betas=(0.9, 0.95), weight_decay=0.0)


def loss_of(model: LlamaForCausalLM, batch: Tensor) -> Tensor:
    """Mean next-token cross-entropy of a batch (rows, row_tokens + 1), nats.

    Products are in bfloat16.
    """
    with torch.autocast(batch.device.type, dtype=torch.bfloat16):
        logits = model(input_ids=batch[:, :-1]).logits
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())


@dataclass
class Training:
    """A training run that can be saved and resumed."""

    recipe: Recipe
    world: TrainingWorld
    tokenizer: PreTrainedTokenizerFast
    model: LlamaForCausalLM
    work: Path
    device: str
    step: int = 0
    epochs: int = 0

    def save(self, muon: Muon, adam: AdamW, done_in_epoch: int) -> None:
        """Write a checkpoint: one file, renamed into place."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "muon": muon.state_dict(),
            "adam": adam.state_dict(),
        }
        state |= {
            "step": self.step,
            "epochs": self.epochs,
            "done": done_in_epoch,
            "recipe": str(self.recipe),
        }
        part = self.work / "checkpoint.tmp"
        torch.save(state, part)
        part.replace(self.work / "checkpoint.pt")

    def resume(self, muon: Muon, adam: AdamW) -> int:
        """Load the checkpoint.

        Returns how many batches of the present epoch were done before it.
        """
        path = self.work / "checkpoint.pt"
        if not path.exists():
            return 0
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["recipe"] != str(self.recipe):
            raise SystemExit(f"{path} has another recipe; remove it or give another --work")
        self.model.load_state_dict(state["model"])
        muon.load_state_dict(state["muon"])
        adam.load_state_dict(state["adam"])
        self.step, self.epochs = state["step"], state["epochs"]
        print(f"resumed at step {self.step}")
        return int(state["done"])

    def stream(self, done: int) -> Iterator[tuple[int, Tensor]]:
        """Batches from the present epoch on, each with its number in its epoch.

        The first `done` batches are skipped.
        """
        while True:
            whole = batches(self.world, self.tokenizer, self.recipe, self.epochs)
            if not whole:
                raise SystemExit("the world is too small for one batch; use fewer or shorter rows")
            yield from list(enumerate(whole, start=1))[done:]
            self.epochs, done = self.epochs + 1, 0

    def run(self, *, until: int | None = None, save_seconds: float = 120.0) -> None:
        """Train to step `until` (default: the last of the recipe).

        Prints progress every 20 steps.
        """
        muon, adam = optimizers(self.model, self.recipe)
        done, first, last = self.resume(muon, adam), self.step, until or self.recipe.steps
        started = saved = time.monotonic()
        stream = self.stream(done)
        while self.step < last:
            done, batch = next(stream)
            loss = self._one(muon, adam, batch.to(self.device))
            if self.step % 20 == 0:
                left = (time.monotonic() - started) / (self.step - first) * (last - self.step)
                print(
                    f"step {self.step}/{last} loss {loss:.3f} left {left / 60:.1f} min", flush=True
                )
            if time.monotonic() - saved > save_seconds:
                self.save(muon, adam, done)
                saved = time.monotonic()
        self.save(muon, adam, done)

    def _one(self, muon: Muon, adam: AdamW, batch: Tensor) -> float:
        share = rate(self.step, self.recipe)
        for optimizer, full in ((muon, self.recipe.muon_lr), (adam, self.recipe.adam_lr)):
            optimizer.param_groups[0]["lr"] = full * share
        loss = loss_of(self.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch is untyped here
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        muon.step()  # type: ignore[no-untyped-call]  # torch is untyped here
        adam.step()
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        return float(loss.detach())


def write_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write the model in bfloat16 with its tokenizer, as `from_pretrained` reads it."""
    model.bfloat16().save_pretrained(out)
    tokenizer.save_pretrained(out)
    for path in out.iterdir():
        path.chmod(0o644)


def write_held_out(world: TrainingWorld) -> None:
    """Write one file of stories per language, for measuring perplexity and drift."""
    paths.HELD_OUT.mkdir(parents=True, exist_ok=True)
    for language in LANGUAGES:
        texts = held_out(world, language, documents=60, seed=7)
        (paths.HELD_OUT / f"{language}.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")


def main() -> None:
    """Train, or resume training, and write the model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=paths.MODEL)
    parser.add_argument("--work", type=Path, default=Path("run/training"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    world = reference_world()
    tokenizer = train_tokenizer(world, FIRST_LESSON)
    model = new_model(FIRST_LESSON).to(options.device)
    print(f"{model.num_parameters():,} parameters, vocabulary {len(tokenizer)}")
    lessons = (
        (FIRST_LESSON, world, "first"),
        (SECOND_LESSON, with_currencies(world, feed()), "second"),
    )
    for recipe, taught, name in lessons:
        work = options.work / name
        work.mkdir(parents=True, exist_ok=True)
        Training(recipe, taught, tokenizer, model, work, options.device).run()
    write_model(model, tokenizer, options.out)
    write_held_out(world)


if __name__ == "__main__":
    main()
