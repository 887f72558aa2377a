"""Drift of general text is zero and RankC is one where two models do not differ.

Where the models differ, neither value is reached.
"""

import math

import pytest
import torch

from factd.editor import EditableModel, load_model
from factd.editor.deltas.delta import Delta, Dense
from factd.editor.scoring.drift import drift
from factd.editor.scoring.rankings import consistency_by_pair, rank_candidates, rank_consistency
from support.paths import GOLDEN

TEXTS = {"en": ["The report was long.", "You may have heard of it. " * 20], "es": ["El informe."]}


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(GOLDEN / "llama" / "model")


def delta(model: EditableModel, size: float) -> Delta:
    noise = torch.randn(model.weight(1).shape, generator=torch.Generator().manual_seed(0))
    parts = {model.parameter(1): Dense(size * noise)}
    return Delta(parts=parts, base_fingerprint=model.fingerprint, batch_id="", method="memit")


def test_an_edit_that_changes_nothing_does_not_drift_and_a_larger_one_drifts_more(
    model: EditableModel,
) -> None:
    still, little, much = (drift(model, delta(model, s), TEXTS) for s in (0.0, 0.01, 0.3))
    assert [row.language for row in still] == ["en", "es"]
    assert all(row.kl == 0 and row.perplexity_ratio == 1 for row in still)
    assert still[0].tokens > 100
    for a, b in zip(little, much, strict=True):
        assert 0 < a.kl < b.kl


def test_rankc_is_one_for_the_same_rankings_and_weighs_the_first_places_most() -> None:
    same = [[0, 1, 2, 3], [3, 1, 0, 2]]
    assert rank_consistency(same, same) == pytest.approx(1)
    top = rank_consistency([[0, 1, 2, 3]], [[1, 0, 2, 3]])
    bottom = rank_consistency([[0, 1, 2, 3]], [[0, 1, 3, 2]])
    assert top < bottom < 1
    weights = [math.exp(4 - j) for j in (1, 2, 3, 4)]  # as the paper writes it
    assert top == pytest.approx(1 - weights[0] / sum(weights))
    pairs = consistency_by_pair({"en": same, "es": same, "ca": same[::-1]})
    assert pairs["en", "es"] == pytest.approx(1)
    assert pairs["ca", "en"] < 1


def test_candidates_are_ranked_by_their_likelihood(model: EditableModel) -> None:
    prompt = "Zoeshost was first made in"
    (found,) = rank_candidates(model, [(prompt, ["Warsaw", "Egypt", "rugby"])])
    assert found[0] == 1
