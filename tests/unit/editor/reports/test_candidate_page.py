"""A candidate's page puts the decision first and loads nothing from elsewhere."""

from dataclasses import replace
from html.parser import HTMLParser
from math import nan
from random import Random
from typing import Any

import pytest
from matplotlib.figure import Figure

from factd.editor.reports.candidate_page import (
    CandidatePage,
    candidate_page,
    interval_text,
    short_number,
)
from factd.editor.reports.plots import add_axes, as_svg
from support.candidate_reports import FAILED, FINDING, LANGUAGES, OLD, SCRIPT, UNSURE, page, report


class Reader(HTMLParser):
    """What a page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [held for name, held in self.tags if name == tag]


@pytest.fixture(scope="module")
def whole() -> str:
    return candidate_page(page())


def in_order(text: str, *words: str) -> bool:
    places = [text.find(word) for word in words]
    return -1 not in places and places == sorted(places)


def test_the_decision_and_its_reasons_come_before_everything_else(whole: str) -> None:
    body = whole[whole.index("<body") :]
    assert in_order(
        body,
        "Refused",
        "candidate 3: 6 facts",
        FAILED["sentence"],
        UNSURE["sentence"],
        "its neighbours fell",
        'id="gates"',
        "Gates that did not pass",
        "<details",
        'id="figures"',
        'id="measurements"',
        'id="answers"',
        'id="facts"',
        'id="about"',
    )


@pytest.mark.parametrize(
    ("accepted", "findings", "word"),
    [
        (True, (FINDING,), "Accepted"),
        (False, (FINDING, FAILED, UNSURE), "Refused"),
        (False, (FINDING, UNSURE), "Inconclusive"),
        (None, (), "Not decided"),
    ],
)
def test_one_word_says_what_was_decided(accepted: bool | None, findings: Any, word: str) -> None:
    shown = replace(page(), accepted=accepted, findings=findings, reasons=(), report=OLD)
    assert f'<span class="word">{word}</span>' in candidate_page(shown)


def test_a_reason_without_a_finding_is_told_too() -> None:
    shown = replace(page(), findings=(), reasons=("the base model was replaced",), report=OLD)
    assert in_order(candidate_page(shown), "Refused", "the base model was replaced", 'id="about"')


def test_text_from_outside_never_becomes_markup() -> None:
    data = report(2)
    data["examples"] = [e | {"prompt": SCRIPT, "after": SCRIPT} for e in data["examples"]]
    finding = FAILED | {"sentence": SCRIPT, "gate": SCRIPT}
    hostile = replace(
        page(),
        title=SCRIPT,
        findings=(finding,),
        reasons=(SCRIPT,),
        about={SCRIPT: SCRIPT},
        report=data,
        names=dict.fromkeys(["new0", "new1"], SCRIPT),
        set_aside=({"fact": "new0", "reason": SCRIPT, "evidence": {SCRIPT: SCRIPT}},),
        figures={SCRIPT: Figure()},
    )
    text = candidate_page(hostile)
    assert SCRIPT not in text
    assert "&lt;script&gt;" in text
    assert len(Reader(text).of("script")) == 1  # the page's own


def test_an_old_report_lacks_parts_and_still_has_a_page() -> None:
    text = candidate_page(replace(page(), report=OLD, history=(), set_aside=(), names={}))
    assert 'id="measurements"' in text
    assert 'id="facts"' not in text
    assert ">to live<" not in text
    assert '<td class="number">–' in text  # of the number that is none


def test_an_empty_report_is_a_decision_and_what_it_is_about() -> None:
    text = candidate_page(
        CandidatePage(
            title="checks", accepted=None, reasons=(), findings=(), about={}, report={}, names={}
        )
    )
    assert "Not decided" in text
    assert "<figure" not in text
    assert "<table" not in text


def test_nothing_is_loaded_from_elsewhere(whole: str) -> None:
    found = Reader(whole)
    sources = [
        held.get(name) or "" for _, held in found.tags for name in ("src", "href", "xlink:href")
    ]
    assert all(s.startswith(("#", "data:image/png")) for s in sources if s)
    assert not found.of("link") + found.of("iframe") + found.of("img")
    assert "@import" not in whole
    assert "url(http" not in whole


def test_every_id_is_there_once_and_every_reference_has_its_own(whole: str) -> None:
    tags = Reader(whole).tags
    ids = [held["id"] for _, held in tags if held.get("id")]
    assert len(ids) == len(set(ids))
    links = {
        held[n]
        for _, held in tags
        for n in ("href", "xlink:href")
        if (held.get(n) or "")[:1] == "#"
    }
    clips = {held["clip-path"] for _, held in tags if held.get("clip-path")}
    assert clips
    assert {str(link)[1:] for link in links} | {str(clip)[5:-1] for clip in clips} <= set(ids)


def test_two_figures_alike_but_for_their_names_share_no_id() -> None:
    def drawn() -> Figure:
        figure = Figure()
        add_axes(figure, "x", "y").plot([0, 1], "o-")
        return figure

    one, two = (Reader(as_svg(drawn(), name)) for name in ("one", "two"))
    ids = [{held["id"] for _, held in found.tags if "id" in held} for found in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert as_svg(drawn(), "one") == as_svg(drawn(), "one")


def test_every_table_has_a_caption_and_every_figure_tells_what_it_is(whole: str) -> None:
    found = Reader(whole)
    assert len(found.of("table")) == len(found.of("caption"))
    assert len(found.of("figure")) == len(found.of("figcaption")) >= 7
    assert all(held.get("role") == "img" and held.get("aria-label") for held in found.of("svg"))
    assert all(held.get("scope") for held in found.of("th"))


def test_prompts_and_answers_carry_their_language(whole: str) -> None:
    cells = [held for held in Reader(whole).of("td") if held.get("data-name")]
    assert {held["lang"] for held in cells} == set(LANGUAGES)


def test_answers_that_became_wrong_come_first_and_right_ones_last(whole: str) -> None:
    body = whole[whole.index('id="examples"') :]
    assert in_order(body, "became wrong", "stayed wrong", "became right", "stayed right")
    assert body.rindex("became wrong") < body.index("stayed wrong")


def test_facts_stand_with_the_worst_first() -> None:
    row = {"language": "en", "written": True, "new": True, "asked": 4, "before": 0, "live": None}
    rows = [row | {"fact": name, "right": right} for name, right in (("a", 4), ("b", 0), ("c", 2))]
    text = candidate_page(replace(page(), report=OLD | {"facts": rows}, names={"b": "the worst"}))
    assert in_order(text[text.index('id="facts"') :], "the worst", "2 of 4", "4 of 4")


def test_two_thousand_points_make_a_page_below_one_and_a_half_megabytes() -> None:
    chance = Random(1)
    kinds = ("edit", "paraphrase", "earlier", "neighbourhood")
    points = {kind: [(chance.random(), chance.random()) for _ in range(500)] for kind in kinds}
    points["known"] = [(chance.random(), chance.random()) for _ in range(2000)]
    text = candidate_page(replace(page(), report=report() | {"points": points}))
    assert "data:image/png" in text  # of the panel with many points
    assert len(text.encode()) < 1_500_000


def test_numbers_are_short_and_never_nothing() -> None:
    assert [short_number(v) for v in (0.25, -0.25, 0.0, 0.00004, nan, None, 12)] == [
        "0.250", "−0.250", "0.000", "4e-05", "–", "–", "12",
    ]  # fmt: skip
    assert interval_text(nan, 1.0) == ""
    assert interval_text(-0.5, 0.25, signs=True) == "−0.500 to +0.250"
