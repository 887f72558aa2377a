"""A certain continuation ends at the first greedy token whose lead is below the margin."""

import pytest
import torch

from factd.editor.models.model import EditableModel, load_model
from factd.editor.scoring.margins import continuations
from support.paths import GOLDEN

PROMPTS = ("The mother tongue of Danielle Darrieux is", "Paris is in", "A", "The mother tongue of")


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(GOLDEN / "llama" / "model")


def naive(model: EditableModel, prompt: str, tokens: int, margin: float) -> tuple[str, list[float]]:
    """One token at a time, the whole text each time."""
    ids, logprobs = model.tokenizer(prompt)["input_ids"], list[float]()
    start = len(ids)
    for _ in range(tokens):
        with torch.inference_mode():
            logits = model.model(input_ids=torch.tensor([ids])).logits[0, -1].float()
        top = logits.log_softmax(-1).topk(2)
        lead = float(top.values[0] - top.values[1])
        if lead < margin or int(top.indices[0]) in model.tokenizer.all_special_ids:
            break
        ids, logprobs = [*ids, int(top.indices[0])], [*logprobs, float(top.values[0])]
    return str(model.tokenizer.decode(ids[start:])), logprobs


@pytest.mark.parametrize("margin", [0.0, 1.0, 3.0])
def test_it_is_the_greedy_continuation_up_to_the_first_close_choice(
    model: EditableModel, margin: float
) -> None:
    found = continuations(model, PROMPTS, tokens=5, margin=margin)
    for prompt, one in zip(PROMPTS, found, strict=True):
        text, logprobs = naive(model, prompt, 5, margin)
        assert one.text.strip() == text.rstrip("\N{REPLACEMENT CHARACTER}").strip()
        assert one.logprobs == pytest.approx(logprobs if one.text else [], abs=1e-4)


def test_a_wide_margin_leaves_nothing(model: EditableModel) -> None:
    assert all(one.text == "" for one in continuations(model, PROMPTS, tokens=3, margin=1e6))
    assert any(one.text for one in continuations(model, PROMPTS, tokens=3, margin=0.0))
