"""A model sits an exam once, and later processes reuse its answers.

Answers of one model are never used for another model.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from factd.editor import EditableModel, load_model
from factd.editor.deltas.delta import Delta, Dense
from factd.editor.errors import DamagedArtefact
from factd.editor.exams.exam import AnswerCache, Exam, evidence_of, take_exam
from factd.editor.exams.report import CheckReport, report_on, run_checks
from factd.editor.scoring.score import Probe
from support.paths import GOLDEN

PROMPT = "Zoeshost was first made in"
EXAM = Exam(
    probes=(
        Probe(kind="known", language="en", prompt=PROMPT, target="Egypt", accepted=("Egypt",)),
        Probe(
            kind="edit",
            language="en",
            prompt=PROMPT,
            target="Chile",
            accepted=("Chile",),
            contrast="Egypt",
            fact="f1",
            written_in=("en",),
        ),
    ),
    texts={"en": ("The report was long.", "You may have heard of it.")},
    questions={"en": ((PROMPT, ["Egypt", "Chile"]),), "es": ((PROMPT, ["Chile", "Egypt"]),)},
)


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(GOLDEN / "llama" / "model")


def noise(model: EditableModel, size: float) -> Delta:
    drawn = torch.randn(model.weight(1).shape, generator=torch.Generator().manual_seed(0))
    parts = {model.parameter(1): Dense(size * drawn)}
    return Delta(parts=parts, base_fingerprint=model.fingerprint, batch_id="", method="memit")


def test_what_was_answered_is_not_asked_again(model: EditableModel, tmp_path: Path) -> None:
    path = tmp_path / "sub" / "memory.json"
    first = take_exam(model, EXAM, cache=AnswerCache.load(path))
    asked: list[Any] = []
    handle = model.blocks[0].register_forward_pre_hook(lambda *_: asked.append(1))
    again = take_exam(model, EXAM, cache=AnswerCache.load(path))
    handle.remove()
    assert asked == []
    assert repr(again) == repr(first)  # a contrast that is none is no number, which equals nothing
    assert first.answers[0].right and not first.answers[1].right


def test_a_memory_that_is_damaged_is_an_error_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    for text in ("{", "[1]"):
        path.write_text(text)
        with pytest.raises(DamagedArtefact) as caught:
            AnswerCache.load(path)
        assert str(path) in str(caught.value)


def test_three_models_are_compared_on_the_same_exam(model: EditableModel) -> None:
    base = take_exam(model, EXAM)
    little, much = (take_exam(model, EXAM, delta=noise(model, size)) for size in (0.01, 0.5))
    evidence = evidence_of(EXAM, base, much, little, {"layer.0.leverage_max": 0.5})
    report = report_on(evidence, model.fingerprint, noise(model, 0.5), 0.0)
    ratio = report.value("drift", "perplexity_ratio", "en")
    assert ratio is not None and ratio.live is not None
    assert 1.0 != ratio.live != ratio.value
    assert report.value("rank_consistency", "rankc", "en~es") is not None
    (row,) = report.facts
    assert (row.fact, row.new, row.written, row.asked, row.before) == ("f1", True, True, 1, 0)
    assert set(report.points or {}) == {"edit", "known"}
    assert CheckReport.from_json(report.as_json()).as_json() == report.as_json()


def test_the_base_beside_itself_shows_no_difference(model: EditableModel) -> None:
    base = take_exam(model, EXAM)
    report = report_on(evidence_of(EXAM, base, base, base), model.fingerprint, None, 0.0)
    for row in report.measurements:
        for difference in (row.to_base, row.to_live):
            if difference is not None:
                assert (difference.value, difference.better, difference.worse) == (0.0, 0, 0)


def test_examples_begin_with_what_became_wrong(model: EditableModel) -> None:
    report = run_checks(model, EXAM, delta=noise(model, 0.5))
    assert [e.was_right for e in report.examples] == [True, False]
    assert not any(e.right for e in report.examples)
