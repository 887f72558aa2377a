"""Invented reports and pages of candidates, with something in every part."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from factd.editor.checks import Evidence, RankingEvidence, TextEvidence
from factd.editor.exams.report import report_on
from factd.editor.reports.candidate_page import CandidatePage
from factd.editor.scoring.drift import TextScores
from factd.editor.scoring.score import Answer, Probe

LANGUAGES = {
    "en": "The currency of {} is the",
    "es": "La moneda de {} es el",
    "fr": "La monnaie de {} est",
    "ca": "La moneda de {} és",
}
WRITTEN = ("en", "es")
KINDS = {  # shares of right answers: base, live release, candidate
    "edit": (0.02, 0.05, 0.97),
    "paraphrase": (0.02, 0.04, 0.85),
    "neighbourhood": (0.9, 0.89, 0.86),
    "earlier": (0.05, 0.95, 0.93),
    "known": (0.98, 0.97, 0.96),
    "temporal": (0.7, 0.7, 0.66),
}
SCRIPT = "<script>alert('here')</script>"
NORMS = {
    f"layer.{n}.{name}": value * (1 + n / 10)
    for n in (4, 5, 6)
    for name, value in (
        ("weight_norm_ratio", 1.01),
        ("update_norm_ratio", 0.04),
        ("leverage_max", 0.3),
    )
}
FINDING: dict[str, Any] = {
    "gate": "reach",
    "check": "generation",
    "metric": "right",
    "language": "en",
    "verdict": "pass",
    "against": "value",
    "value": 0.91,
    "bound": 0.8,
    "sample_size": 48,
    "sentence": "generation right in en is 0.910, at least 0.80 is asked",
}
FAILED = FINDING | {
    "gate": "collateral",
    "check": "known_facts",
    "metric": "kept",
    "language": "fr",
    "verdict": "fail",
    "against": "live",
    "value": -0.06,
    "bound": -0.02,
    "sentence": "known facts kept in fr fell by 0.060 against the live release, 0.02 is allowed",
}
UNSURE = FINDING | {
    "gate": "retention",
    "check": "retention",
    "metric": "generation",
    "language": "ca",
    "verdict": "inconclusive",
    "sample_size": 4,
    "sentence": "INCONCLUSIVE: retention generation in ca has 4 probes, 10 are needed",
}
OLD = {  # a report in the format of the first version of factd
    "fingerprint": "f1",
    "delta_id": None,
    "measurements": [
        {
            "check": "efficacy",
            "metric": "generation",
            "language": "en",
            "value": 0.9,
            "low": 0.8,
            "high": 0.95,
            "sample_size": 40,
            "before": 0.1,
        },
        {
            "check": "drift",
            "metric": "kl",
            "language": "en",
            "value": None,
            "low": None,
            "high": None,
            "sample_size": 3,
            "before": 0.0,
        },
    ],
    "examples": [
        {
            "kind": "edit",
            "language": "en",
            "fact": "a",
            "prompt": "x",
            "expected": "y",
            "before": "z",
            "after": "y",
            "right": True,
        },
    ],
    "seconds": 2.0,
}


def answer(chance: Random, share: float) -> Answer:
    right = chance.random() < share
    nll = chance.uniform(0.01, 0.6) if right else chance.uniform(1, 7)
    return Answer(
        target_nll=nll,
        contrast_nll=chance.uniform(0.5, 5),
        accurate=right,
        text="euro." if right else "kuna, as it was",
        right=right,
    )


def probes(count: int) -> Iterator[Probe]:
    for kind in KINDS:
        for language, prompt in LANGUAGES.items():
            for place in range(count):
                yield Probe(
                    kind=kind,
                    language=language,
                    prompt=prompt.format(f"Land {place}"),
                    target="euro",
                    accepted=("euro",),
                    contrast="kuna",
                    fact=f"{'old' if kind == 'earlier' else 'new'}{place}",
                    written_in=WRITTEN,
                )


def scores(rise: float) -> TextScores:
    base = tuple(150.0 + n for n in range(12))
    return TextScores(
        tokens=(50,) * 12,
        base_nll=base,
        nll=tuple(n + rise * (1 + place / 6) for place, n in enumerate(base)),
        kl=tuple(0.4 + rise * place / 9 for place in range(12)),
    )


def rankings(chance: Random, swaps: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(chance.sample(range(6), swaps)) + tuple(range(swaps)) for _ in range(9))


def report(count: int = 6) -> dict[str, Any]:
    """The report of the checks on invented answers, as JSON."""
    chance = Random(7)
    asked = tuple(probes(count))
    answers = {side: tuple(answer(chance, KINDS[p.kind][side]) for p in asked) for side in range(3)}
    ranks = {name: rankings(chance, 3) for name in LANGUAGES}
    evidence = Evidence(
        probes=asked,
        before=answers[0],
        live=answers[1],
        after=answers[2],
        texts={
            n: TextEvidence(after=scores(0.4 + k / 5), live=scores(0.3))
            for k, n in enumerate(LANGUAGES)
        },
        ranked={n: RankingEvidence(before=r, after=rankings(chance, 2)) for n, r in ranks.items()},
        diagnostics=NORMS | {"z_error_mean": 0.04},
    )
    made = report_on(evidence, "f" * 12, None, 41.5).as_json()
    return json.loads(json.dumps(made | {"delta_id": "d" * 12}))  # type: ignore[no-any-return]


def page(count: int = 6) -> CandidatePage:
    """The page of a refused candidate, with something in every part."""
    return CandidatePage(
        title=f"candidate 3: {count} facts",
        accepted=False,
        reasons=(FAILED["sentence"], UNSURE["sentence"]),
        findings=(UNSURE, FINDING, FAILED, FINDING | {"language": "es"}),
        about={
            "batch": 7,
            "method": "memit",
            "base": "/models/one",
            "seconds": 62.25,
            "who": "loop",
        },
        report=report(count),
        names={f"new{n}": f"Land {n}, currency: euro" for n in range(count)},
        set_aside=(
            {"fact": "new1", "reason": "its neighbours fell", "evidence": {"namesakes": 0.25}},
        ),
        history=(
            {"release": 1, "norms": NORMS},
            {"release": 2, "norms": {k: v * 1.02 for k, v in NORMS.items()}},
        ),
    )
