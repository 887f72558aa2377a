"""What counts as a right answer, and that scores do not depend on batches."""

import math

import pytest
import torch
from conftest import GOLDEN

from editor.checks import Evidence
from editor.intervals import harmonic_mean, of_mean, wilson
from editor.model import EditableModel, load_model
from editor.plugins import load, names
from editor.report import CheckReport, run_checks
from editor.score import Answer, Probe, answers, forced, greedy, is_right


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(GOLDEN / "llama" / "model")


@pytest.mark.parametrize(
    ("text", "label", "right"),
    [
        (" euro.", "euro", True),
        ("Euro", "euro", True),
        ("  EURO. The weather", "euro", True),
        ("« euro »", "euro", True),
        ("euro\nnext", "euro", True),
        ("euros", "euro", False),
        ("the euro", "euro", False),
        ("Turkish lira (1922–2005).", "Turkish lira", False),
        ("Turkish lira (1922–2005).", "Turkish lira (1922–2005)", True),
        ("St. Martin.", "St. Martin", True),
        ("Cote d'Ivoire.", "Cote d’Ivoire", True),
        ("", "euro", False),
    ],
)
def test_an_answer_is_right_when_the_label_ends_where_the_answer_does(
    text: str, label: str, right: bool
) -> None:
    assert is_right(text, ["nothing", label]) is right


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
    ((nll, accurate),) = forced(model, [(prompt, target)])
    assert nll == pytest.approx(expected, abs=1e-4)
    assert not accurate
    assert forced(model, [PROMPTS[0]])[0][1]


def test_scores_and_answers_do_not_depend_on_the_batches(model: EditableModel) -> None:
    whole, single = forced(model, PROMPTS), [forced(model, [p])[0] for p in PROMPTS]
    assert [a for _, a in whole] == [a for _, a in single]
    assert all(abs(x - y) < 1e-4 for (x, _), (y, _) in zip(whole, single, strict=True))
    prompts = [p for p, _ in PROMPTS]
    assert greedy(model, prompts) == [greedy(model, [p])[0] for p in prompts]
    assert greedy(model, prompts, batch_tokens=1) == greedy(model, prompts)


def test_greedy_answers_are_those_of_transformers(model: EditableModel) -> None:
    ids = torch.tensor([model.tokenizer(PROMPTS[0][0])["input_ids"]])
    expected = model.tokenizer.decode(
        model.model.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :]
    )
    assert expected.strip().startswith(greedy(model, [PROMPTS[0][0]])[0])


def probe(kind: str = "edit", **more: object) -> Probe:
    fields = {
        "kind": kind,
        "language": "en",
        "prompt": "p",
        "target": "euro",
        "accepted": ("euro",),
        "contrast": "kuna",
    }
    return Probe(**{**fields, **more})  # type: ignore[arg-type]


def answer(
    text: str, target: float = 1.0, contrast: float = 2.0, *, accurate: bool = False
) -> Answer:
    right = is_right(text, ["euro"])
    return Answer(
        target_nll=target, contrast_nll=contrast, accurate=accurate, text=text, right=right
    )


def measured(
    name: str, evidence: Evidence
) -> dict[tuple[str, str], tuple[float, float | None, int]]:
    found = load("editor.checks", name).check(evidence)
    return {(m.metric, m.language): (m.value, m.before, m.sample_size) for m in found}


def test_efficacy_is_what_one_computes_by_hand() -> None:
    evidence = Evidence(
        probes=(probe(), probe()),
        before=(answer("kuna", 3, 1), answer("kuna", 3, 1)),
        after=(answer("euro", 0.5, 2, accurate=True), answer("kuna", 2, 1)),
    )
    found = measured("efficacy", evidence)
    assert found["success", "en"] == (0.5, 0.0, 2)
    assert found["accuracy", "en"] == (0.5, 0.0, 2)
    assert found["generation", "en"] == (0.5, 0.0, 2)
    by_hand = ((math.exp(-0.5) - math.exp(-2)) + (math.exp(-2) - math.exp(-1))) / 2
    assert found["magnitude", "en"][0] == pytest.approx(by_hand)
    assert found["magnitude", "en"][1] == pytest.approx(math.exp(-3) - math.exp(-1))


def test_known_facts_count_only_what_the_base_knew() -> None:
    evidence = Evidence(
        probes=(probe("known"),) * 3,
        before=(answer("euro"), answer("euro"), answer("wrong")),
        after=(answer("Euro."), answer("lost"), answer("euro")),
    )
    found = measured("known_facts", evidence)
    assert found["kept", "en"] == (0.5, None, 2)
    assert found["unchanged", "en"] == (0.5, None, 2)


def test_transfer_asks_only_where_nothing_was_written() -> None:
    probes = (probe(written_in=("en",)), probe(written_in=("en",), language="fr"))
    evidence = Evidence(
        probes=probes, before=(answer("kuna"),) * 2, after=(answer("euro"), answer("kuna"))
    )
    assert measured("transfer", evidence) == {
        ("accuracy", "en→fr"): (0.0, 0.0, 1),
        ("generation", "en→fr"): (0.0, 0.0, 1),
    }


def test_an_answer_in_another_language_is_not_faithful() -> None:
    asked = probe(foreign=("dollar américain",))
    evidence = Evidence(
        probes=(asked, asked),
        before=(answer("euro"),) * 2,
        after=(answer("dollar américain."), answer("x")),
    )
    assert measured("fidelity", evidence)["share", "en"] == (0.5, 1.0, 2)


def test_norms_are_the_deltas_own() -> None:
    evidence = Evidence(probes=(), before=(), after=(), diagnostics={"layer.0.leverage_max": 0.5})
    assert measured("norms", evidence) == {("layer.0.leverage_max", "all"): (0.5, None, 1)}


def test_every_check_is_silent_without_probes() -> None:
    nothing = Evidence(probes=(), before=(), after=())
    assert {
        name: load("editor.checks", name).check(nothing) for name in names("editor.checks")
    } == dict.fromkeys(names("editor.checks"), ())


def test_intervals_are_the_published_ones() -> None:
    low, high = wilson(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(0, 0) == (0.0, 1.0)
    assert all(map(math.isnan, of_mean([1.0])))
    low, high = of_mean([1.0, 2.0, 3.0])
    assert (low + high) / 2 == pytest.approx(2.0)
    assert harmonic_mean([1.0, 0.5]) == pytest.approx(2 / 3)
    assert harmonic_mean([1.0, 0.0]) == 0.0


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
    report = run_checks(model, probes)
    kept, edited = (
        report.value("known_facts", "kept", "en"),
        report.value("efficacy", "generation", "en"),
    )
    assert kept is not None and kept.value == 1.0
    assert edited is not None and (edited.value, edited.before) == (0.0, 0.0)
    assert CheckReport.from_json(report.as_json()).as_json() == report.as_json()
    assert not report.examples[0].right


def test_a_number_that_is_none_is_kept_as_none() -> None:
    broken = Evidence(
        probes=(probe(),),
        before=(answer("kuna"),),
        after=(answer("x", float("nan"), float("nan")),),
    )
    found = load("editor.checks", "efficacy").check(broken)
    magnitude = next(m for m in found if m.metric == "magnitude")
    assert math.isnan(magnitude.value)


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
