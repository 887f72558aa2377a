"""A model's belief is its commonest answer over several wordings and decodings.

Its certainty is that answer's share.
"""

import pytest

from factd.editor.models.model import EditableModel, load_model
from factd.editor.scoring.beliefs import belief_from, beliefs, first_sentence, sample_answers
from support.paths import GOLDEN

PROMPTS = ("Zoeshost was first made in", "Kagle Clahal has citizenship of")


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(GOLDEN / "llama" / "model")


def test_certainty_is_the_share_of_the_commonest_answer() -> None:
    found = belief_from(["Euro.", "euro"], ["kuna. And so on", "euro"])
    assert (found.answer, found.certainty, found.agreement, found.asked) == ("euro", 0.75, 1.0, 4)
    assert found.others == {"kuna": 0.25}


def test_of_equally_common_answers_a_greedy_one_wins() -> None:
    assert belief_from(["kuna"], ["euro"]).answer == "kuna"
    assert belief_from([], []).asked == 0


def test_an_answer_ends_with_its_sentence() -> None:
    assert first_sentence(" euro. The weather is fine") == "euro"
    assert first_sentence("St. Martin.") == "st. martin"
    assert first_sentence("yen\nJapan") == "yen"


def test_text_about_an_answer_is_no_part_of_it() -> None:
    found = belief_from(["yen, which is old."], ["yen, the currency of", "Rome, Italy, a city"])
    assert (found.answer, list(found.others)) == ("yen", ["rome, italy"])
    assert found.certainty == pytest.approx(2 / 3)


def test_a_draw_depends_on_its_prompt_and_seed_and_never_on_its_company(
    model: EditableModel,
) -> None:
    alone = sample_answers(model, PROMPTS[:1], ["a"])
    together = sample_answers(model, [*PROMPTS, PROMPTS[0]], ["a", "b", "c"])
    assert together[0] == alone[0]
    assert len({*sample_answers(model, PROMPTS[:1] * 8, list("abcdefgh"))}) > 1


def test_a_model_is_surer_of_what_it_knows_than_of_what_it_does_not(model: EditableModel) -> None:
    known, unknown = beliefs(
        model, [[PROMPTS[0]], ["The color of the sky over Qwxyz is"]], samples=12
    )
    assert known.answer.startswith("egypt")
    assert known.certainty > unknown.certainty
    assert known.asked == 13
