"""Questions in chat form: the prompt is the template's, and a repeated question is no answer."""

import pytest

from factd.editor.scoring.chat import chat_prompt, has_chat_form, is_right_in_chat


class Tokenizer:
    """What `chat` uses of a tokenizer with a chat template."""

    chat_template = "a template"

    def apply_chat_template(
        self, turns: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        assert (tokenize, add_generation_prompt) == (False, True)
        return "".join(f"<{turn['role']}>{turn['content']}" for turn in turns) + "<assistant>"


def test_the_prompt_is_that_of_the_template_and_ends_where_the_model_answers() -> None:
    assert chat_prompt(Tokenizer(), "Who leads Japan?") == "<user>Who leads Japan?<assistant>"
    assert has_chat_form(Tokenizer())
    assert not has_chat_form(object())


@pytest.mark.parametrize(
    ("answer", "label", "right"),
    [
        ("Keir Starmer.", "Keir Starmer", True),
        ("The current prime minister of the UK is Keir Starmer.", "Keir Starmer", True),
        ("The President of Nigeria is currently President Bola Tinubu.", "Bola Tinubu", True),
        ("The currency of Croatia is the euro (EUR).", "euro", True),
        ("Finland is a member of NATO.", "NATO", True),
        ("The leader of St. Lucia is Philip Pierre.", "Philip Pierre", True),
        ("The president of Syria is not Ahmed al-Sharaa.", "Ahmed al-Sharaa", False),
        ("The prime minister is Boris Johnson, after Keir Starmer.", "Keir Starmer", False),
        ("The chancellor is elected. It is Friedrich Merz.", "Friedrich Merz", False),
        ("Finland is not a member of NATO.", "NATO", False),
        ("Croatia, which has the euro", "euro", False),
    ],
)
def test_the_label_must_stand_behind_the_first_verb(answer: str, label: str, right: bool) -> None:
    assert is_right_in_chat(answer, [label]) is right


def test_a_longer_name_is_another_thing_in_chat_too() -> None:
    answer = "The currency is the Turkish lira of 1922."
    assert is_right_in_chat(answer, ["Turkish lira"])
    assert not is_right_in_chat(answer, ["Turkish lira"], longer=["Turkish lira of 1922"])
