"""The reference world: real facts as of 1998, and what happened since."""

import json
import random
from datetime import date

import pytest

from factd.reference import paths
from factd.reference.text import epoch, make_world, sentence, story
from factd.reference.world import (
    LANGUAGES,
    START,
    TODAY,
    WorldClaim,
    facts_1998,
    feed,
    main_currency,
)
from factd.store.catalogue.catalogue import load_catalogue


@pytest.fixture(scope="module")
def world_claims() -> list[WorldClaim]:
    return facts_1998()


def test_the_world_holds_at_least_1200_facts_named_in_four_languages(
    world_claims: list[WorldClaim],
) -> None:
    assert len(world_claims) >= 1200
    for claim in world_claims:
        assert set(claim.subject.labels) == set(claim.object.labels) == set(LANGUAGES)
        assert all(claim.subject.labels.values())


def test_each_subject_has_one_object_per_relation(world_claims: list[WorldClaim]) -> None:
    pairs = [(claim.subject.id, claim.relation) for claim in world_claims]
    assert len(pairs) == len(set(pairs))


def test_one_name_asks_for_one_object(world_claims: list[WorldClaim]) -> None:
    for language in LANGUAGES:
        named: dict[tuple[str, str], str] = {}
        for claim in world_claims:
            key = (claim.relation, claim.subject.labels[language])
            assert named.setdefault(key, claim.subject.id) == claim.subject.id, key


def test_the_feed_is_every_territory_whose_main_currency_changed() -> None:
    changes = feed()
    assert len(changes) == 69
    for claim in changes:
        before = main_currency(claim.subject.id, START)
        assert claim.object.id != before
        assert claim.since is not None
        assert main_currency(claim.subject.id, TODAY) == claim.object.id
        assert START < claim.since <= TODAY


def test_croatia_paid_in_kuna_in_1998_and_pays_in_euro_since_2023(
    world_claims: list[WorldClaim],
) -> None:
    kuna = next(c for c in world_claims if (c.subject.id, c.relation) == ("HR", "P38"))
    euro = next(c for c in feed() if c.subject.id == "HR")
    assert kuna.object.labels["en"] == "Croatian kuna"
    assert (euro.object.id, euro.since) == ("EUR", date(2023, 1, 1))


def test_the_committed_files_are_what_cldr_says(world_claims: list[WorldClaim]) -> None:
    for path, claims in ((paths.FACTS, world_claims), (paths.FEED, feed())):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert [json.loads(line) for line in lines] == [claim.as_json() for claim in claims]


def test_every_relation_has_four_wordings_of_which_two_never_edit() -> None:
    for relation in load_catalogue().values():
        for language in LANGUAGES:
            wordings = relation.wordings[language]
            assert len(wordings.edit) + len(wordings.check) >= 4
            assert len(set(wordings.check) - set(wordings.edit)) >= 2


def test_an_epoch_meets_every_fact_in_every_language_and_repeats_with_its_seed(
    world_claims: list[WorldClaim],
) -> None:
    few = world_claims[:5]
    world = make_world(world_claims, load_catalogue())
    small = make_world(few, load_catalogue())
    small = type(small)(catalogue=small.catalogue, claims=small.claims, names=world.names)
    text = "\n".join(epoch(small, 1))
    assert text == "\n".join(epoch(small, 1))
    assert text != "\n".join(epoch(small, 2))
    for claim in few:
        assert all(label in text for label in claim.subject.labels.values())


def test_a_story_states_no_fact_of_the_catalogue(world_claims: list[WorldClaim]) -> None:
    world = make_world(world_claims, load_catalogue())
    rng = random.Random(3)
    stories = " ".join(story(world, "en", rng) for _ in range(200))
    stated = sentence(world, world_claims[0], "en", rng)
    taught = [world.catalogue[id_] for id_ in {claim.relation for claim in world_claims}]
    starts = [w.split("{}")[0] for r in taught for w in r.wordings["en"].edit]
    starts = [start for start in starts if len(start) > 6]
    assert not any(start in stories for start in starts)
    assert (
        any(start in stated for start in starts) or world_claims[0].subject.labels["en"] in stated
    )
