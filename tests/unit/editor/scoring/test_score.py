"""Scores and greedy answers, and that they do not depend on batches."""

import pytest
import torch

from factd.editor.exams.exam import Exam
from factd.editor.exams.report import CheckReport, run_checks
from factd.editor.models.generation import greedy_after, read
from factd.editor.models.model import EditableModel, load_model
from factd.editor.scoring.score import Probe, answers, forced_scores, greedy_answers
from support.paths import GOLDEN


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(GOLDEN / "llama" / "model")


PROMPTS = [
    ("Zoeshost was first made in", "Egypt"),
    ("Kagle Clahal has citizenship of", "France"),
    ("The occupation of Drelu Selost is", "sculptor"),
]


def test_the_score_is_the_mean_log_probability_of_the_targets_tokens(model: EditableModel) -> None:
    prompt, target = PROMPTS[1]
    ids = model.tokenizer(f"{prompt} {target}", return_tensors="pt")["input_ids"]
    first = len(model.tokenizer(prompt)["input_ids"])
    log = model.model(input_ids=ids).logits[0].log_softmax(-1)
    expected = -sum(float(log[i - 1, ids[0, i]]) for i in range(first, ids.shape[1])) / (
        ids.shape[1] - first
    )
    ((nll, accurate),) = forced_scores(model, [(prompt, target)])
    assert nll == pytest.approx(expected, abs=1e-4)
    assert not accurate
    assert forced_scores(model, [PROMPTS[0]])[0][1]


def test_scores_and_answers_do_not_depend_on_the_batches(model: EditableModel) -> None:
    whole, single = forced_scores(model, PROMPTS), [forced_scores(model, [p])[0] for p in PROMPTS]
    assert [a for _, a in whole] == [a for _, a in single]
    assert all(abs(x - y) < 1e-4 for (x, _), (y, _) in zip(whole, single, strict=True))
    prompts = [p for p, _ in PROMPTS]
    assert greedy_answers(model, prompts) == [greedy_answers(model, [p])[0] for p in prompts]
    assert greedy_answers(model, prompts, batch_tokens=1) == greedy_answers(model, prompts)


def test_greedy_answers_are_those_of_transformers(model: EditableModel) -> None:
    ids = torch.tensor([model.tokenizer(PROMPTS[0][0])["input_ids"]])
    expected = model.tokenizer.decode(
        model.model.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :]
    )
    assert expected.strip().startswith(greedy_answers(model, [PROMPTS[0][0]])[0])


def test_a_line_break_ends_an_answer_and_not_the_space_before_one(model: EditableModel) -> None:
    def after_prompt(stops: list[int], breaks: set[int]) -> list[int]:
        start = read(model, torch.tensor([model.tokenizer(PROMPTS[0][0])["input_ids"]]))
        return greedy_after(model, start, new_tokens=8, stops=torch.tensor(stops), breaks=breaks)[0]

    tokens = after_prompt([], set())
    first, second = tokens[:2]
    assert first != second
    assert after_prompt([first, second], set()) == [first]
    assert after_prompt([first, second], {first}) == [first, second]
    assert after_prompt([second], {second}) == [first, second]


def test_a_report_of_the_unedited_model_shows_no_change_and_survives_json(
    model: EditableModel,
) -> None:
    probes = [
        Probe(
            kind="known", language="en", prompt=PROMPTS[0][0], target="Egypt", accepted=("Egypt",)
        ),
        Probe(
            kind="edit",
            language="en",
            prompt=PROMPTS[1][0],
            target="France",
            accepted=("France",),
            contrast="Germany",
        ),
    ]
    report = run_checks(model, Exam(probes=tuple(probes)))
    kept, edited = (
        report.value("known_facts", "kept", "en"),
        report.value("efficacy", "generation", "en"),
    )
    assert kept is not None and kept.value == 1.0
    assert edited is not None and (edited.value, edited.before) == (0.0, 0.0)
    assert CheckReport.from_json(report.as_json()).as_json() == report.as_json()
    assert not report.examples[0].right


def test_answers_carry_both_scores(model: EditableModel) -> None:
    with_contrast = Probe(
        kind="edit",
        language="en",
        prompt=PROMPTS[0][0],
        target="Egypt",
        accepted=("Egypt",),
        contrast="Spain",
    )
    (found,) = answers(model, [with_contrast])
    assert found.right and found.accurate
    assert found.target_nll < found.contrast_nll
