"""Edits and settings check themselves; a batch has one canonical order."""

import json
from pathlib import Path
from typing import Any

import pytest

from factd.editor.edits import Edit, EditBatch, read_edits
from factd.editor.errors import BadEdit, BadSettings
from factd.editor.methods import memit
from factd.editor.settings import settings_from

GOOD: dict[str, Any] = {
    "prompt": "The currency of {} is the",
    "subject": "Croatia",
    "target_new": "euro",
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"prompt": "The currency is the"}, "must hold {} once"),
        ({"prompt": "{} and {}"}, "must hold {} once"),
        ({"subject": " "}, "subject must be a text"),
        ({"target_new": ""}, "target_new is empty"),
        ({"target_new": 3}, "target_new must be a text"),
        ({"target_true": "euro"}, "there is nothing to write"),
    ],
)
def test_a_bad_edit_is_named_with_its_line(
    change: dict[str, object], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "edits.jsonl"
    path.write_text("\n".join([json.dumps(GOOD), "", json.dumps(GOOD | change)]))
    with pytest.raises(BadEdit, match="line 3") as caught:
        read_edits(path)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{x", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('{"prompt": "{}"}', "subject is missing"),
        ("", "holds no edits"),
    ],
)
def test_a_file_without_edits_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    path.write_text(text)
    with pytest.raises(BadEdit, match=reason):
        read_edits(path)
    with pytest.raises(BadEdit, match="cannot be read"):
        read_edits(tmp_path / "nothing")


def test_both_of_two_contradictory_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    path.write_text("\n".join(json.dumps(GOOD | {"target_new": t}) for t in ("euro", "kuna")))
    with pytest.raises(BadEdit, match="line 2: contradicts line 1"):
        read_edits(path)


def test_the_same_set_is_the_same_batch_in_any_order() -> None:
    one, two = Edit(**GOOD), Edit(**GOOD | {"subject": "France"})
    assert EditBatch.of([one, two, one]) == EditBatch.of([two, one])
    assert EditBatch.of([one]).id != EditBatch.of([one, two]).id
    assert len(EditBatch.of([one, two, one])) == 2


def test_the_key_of_an_edit_does_not_depend_on_target_true() -> None:
    assert Edit(**GOOD).key == Edit(**GOOD, target_true="kuna").key
    assert Edit(**GOOD).key != Edit(**GOOD, keep=("{} is in",)).key


def test_a_batch_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(BadEdit, match="has two targets"):
        EditBatch.of([Edit(**GOOD), Edit(**GOOD | {"target_new": "kuna"})])


def test_edits_of_a_group_are_computed_together() -> None:
    edits = [Edit(**GOOD | {"subject": s}, group=g) for s, g in (("A", "x"), ("B", "x"), ("C", ""))]
    assert sorted(len(group) for group in EditBatch.of(edits).groups()) == [1, 2]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (
            {"layers": [0], "second_moment_weight": 1, "v_lrr": 1},
            "unknown setting 'v_lrr'; known: layers",
        ),
        ({"layers": [0]}, "second_moment_weight"),
        ({"layers": ["a"], "second_moment_weight": 1.0}, "setting 'layers' must be int"),
        ({"layers": [0], "second_moment_weight": "x"}, "must be float"),
        ({"layers": [0], "second_moment_weight": 1, "v_num_grad_steps": True}, "must be int"),
        ({"layers": [1, 0], "second_moment_weight": 1}, "layers must be rising"),
        ({"layers": [0], "second_moment_weight": 0}, "must be above 0"),
        ({"layers": [0], "second_moment_weight": 1, "v_num_grad_steps": 0}, "at least 1"),
        (
            {"layers": [0], "second_moment_weight": 1, "templates": {"en": 3}},
            "setting 'templates' must be",
        ),
    ],
)
def test_wrong_settings_are_refused_with_the_key(table: dict[str, object], reason: str) -> None:
    with pytest.raises(BadSettings) as caught:
        settings_from(memit.Settings, table)
    assert reason in str(caught.value)


def test_good_settings_become_frozen_tuples() -> None:
    table = {"layers": [0, 2], "second_moment_weight": 5, "templates": {"en": ["It is"]}}
    found = settings_from(memit.Settings, table)
    assert (found.layers, found.second_moment_weight, found.templates) == (
        (0, 2),
        5.0,
        {"en": ("It is",)},
    )
