"""Which answers are right: a table of cases."""

import pytest

from factd.editor.scoring.judge import SortedNames, is_right, longer_names

LIRA, OLD_LIRA = "Turkish lira", "Turkish lira (1922–2005)"


@pytest.mark.parametrize(
    ("text", "label", "right"),
    [
        (" euro.", "euro", True),
        ("Euro", "euro", True),
        ("  EURO. The weather", "euro", True),
        ("« euro »", "euro", True),
        ("euro\nnext", "euro", True),
        ("euros", "euro", True),
        ("the euro", "euro", True),
        (OLD_LIRA, OLD_LIRA, True),
        ("St. Martin.", "St. Martin", True),
        ("Cote d'Ivoire.", "Cote d’Ivoire", True),
        ("", "euro", False),
    ],
)
def test_an_answer_is_right_if_it_begins_with_a_label(text: str, label: str, right: bool) -> None:
    assert is_right(text, ["nothing", label]) is right


def test_a_label_that_begins_a_longer_known_name_is_not_the_answer() -> None:
    assert is_right(OLD_LIRA, [LIRA])
    assert not is_right(OLD_LIRA, [LIRA], longer=[OLD_LIRA])


def test_longer_names_begin_with_a_label_and_are_not_accepted_themselves() -> None:
    names = SortedNames(["Guinea", "Guinea-Bissau", "guinea pig", "Papua New Guinea", "New York"])
    assert longer_names(["Guinea", "guinea pig"], names) == ("Guinea-Bissau",)
