"""The base's adapter changes nothing, in PEFT and in the engines' way of adding it, and takes no rank worth naming."""

import shutil
from pathlib import Path

import pytest
import torch
from conftest import GOLDEN
from peft import PeftModel
from tiny import Tiny

from editor.errors import DamagedArtefact
from editor.neutral import fill_neutral

PROMPT = "The currency of Croatia is the"


@pytest.mark.filterwarnings("ignore::FutureWarning:peft.*")
@pytest.mark.filterwarnings("ignore::FutureWarning:transformers.*")
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_model_with_the_bases_adapter_is_the_base(family: str, tmp_path: Path) -> None:
    base = GOLDEN / family / "model"
    assert fill_neutral(base, tmp_path) == {"rank": 0, "written_rank": 1}
    assert {path.name for path in tmp_path.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    first = Tiny.load(base)
    assert first.with_adapter(tmp_path, most_rank=1).sum == first.sum
    ids = first.tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        before = first.module(ids).logits
        after = PeftModel.from_pretrained(first.module, tmp_path)(ids).logits
    assert torch.equal(before, after)


def test_a_base_without_the_matrix_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(GOLDEN / "llama" / "model", base)
    shutil.copyfile(GOLDEN / "gpt2" / "model" / "model.safetensors", base / "model.safetensors")
    with pytest.raises(DamagedArtefact, match="has no tensor"):
        fill_neutral(base, tmp_path)
