"""The relation catalogue."""

from pathlib import Path

import pytest

from store.catalogue import PACKAGED, load_catalogue, read_relation
from store.errors import BadRelation

GOOD = (PACKAGED / "P38.toml").read_text()


def test_the_packaged_relations_are_read() -> None:
    found = load_catalogue()
    assert set(found) >= {"P17", "P30", "P37", "P38", "P282"}
    assert found["P38"].wordings["en"].edit[0] == "The currency of {} is the"
    assert not found["P38"].many


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('id = "P38"', "", "KeyError"),
        ('cardinality = "one"', 'cardinality = "some"', "cardinality must be"),
        ("The currency of {} is the", "The currency is the", "must hold {} once"),
        (
            "The currency of {} is the",
            "The money used in {} is the",
            "checks with a wording it edits with",
        ),
        (
            '  "In {} people pay with the",\n  "Question: What is the currency of {}? Answer: the",\n',
            "",
            "two to check",
        ),
        ("[wordings.en]", "[wordings.en", "TOMLDecodeError"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(
    before: str, after: str, reason: str, tmp_path: Path
) -> None:
    assert before in GOOD
    path = tmp_path / "P38.toml"
    path.write_text(GOOD.replace(before, after, 1))
    with pytest.raises(BadRelation, match=r"P38\.toml") as caught:
        read_relation(path)
    assert reason in str(caught.value)


def test_a_folder_of_ones_own_replaces_packaged_relations(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD.replace('name = "currency"', 'name = "money"'))
    assert load_catalogue(tmp_path)["P38"].name == "money"
    with pytest.raises(BadRelation, match="is no folder"):
        load_catalogue(tmp_path / "nothing")
