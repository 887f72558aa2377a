"""The training text: documents in four languages, some that state facts and some that do not.

A fact occurs in every wording of the catalogue, at the start of a text and after other text, alone,
in a profile of its subject, and among questions and answers. One wording in fourteen continues with
something that is not a fact ("The currency of Croatia is the talk of the town."). A good third of
the text is stories that name the same subjects and state no fact of the catalogue. So recalling a
fact must compete with other continuations, as in a real model.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from factd.reference.stories import CURRENCY_STORIES, DISTRACTIONS, STORIES, WORDS
from factd.reference.world import LANGUAGES, WorldClaim
from factd.store.catalogue.catalogue import Catalogue

DISTRACTION = 0.07  # share of wordings that continue with something other than the fact


@dataclass(frozen=True, kw_only=True)
class TrainingWorld:
    """The material of the documents: claims, and the names that stories use, per language."""

    catalogue: Catalogue
    claims: tuple[WorldClaim, ...]
    names: Mapping[str, Mapping[str, tuple[str, ...]]]  # language -> kind -> names


def make_world(
    claims: Sequence[WorldClaim], catalogue: Catalogue, more: Sequence[WorldClaim] = ()
) -> TrainingWorld:
    """The training world of some claims. The subjects of `more` occur only in stories."""
    names: dict[str, dict[str, set[str]]] = {k: defaultdict(set) for k in LANGUAGES}
    for claim in (*claims, *more):
        kind = catalogue[claim.relation].subject_kind
        for language in LANGUAGES:
            names[language][kind].add(claim.subject.labels[language])
    frozen = {
        k: {kind: tuple(sorted(v)) for kind, v in kinds.items()} for k, kinds in names.items()
    }
    return TrainingWorld(catalogue=catalogue, claims=tuple(claims), names=frozen)


def with_currencies(world: TrainingWorld, more: Sequence[WorldClaim]) -> TrainingWorld:
    """The world of the second lesson, whose stories also name currencies.

    The currencies of `more` (the feed) occur as often as all others together.
    """
    names = {}
    for language in LANGUAGES:
        old = {c.object.labels[language] for c in world.claims if c.relation == "P38"}
        new = {c.object.labels[language] for c in more}
        both = (*sorted(old), *sorted(new) * max(1, len(old) // len(new)))
        names[language] = {**world.names[language], "currency": both}
    return replace(world, names=names)


def sentence(world: TrainingWorld, claim: WorldClaim, language: str, rng: random.Random) -> str:
    """A claim in one of its wordings; in rare cases the wording continues with a distraction."""
    wordings = world.catalogue[claim.relation].wordings[language]
    wording = rng.choice((*wordings.edit, *wordings.check))
    ending = claim.object.labels[language]
    if rng.random() < DISTRACTION:
        ending = rng.choice(DISTRACTIONS[language])
    return f"{wording.format(claim.subject.labels[language])} {ending}."


def story_sentence(world: TrainingWorld, language: str, rng: random.Random) -> str:
    """A sentence about people, weather or travel that states no fact of the catalogue."""
    words = {kind: rng.choice(some) for kind, some in WORDS[language].items()}
    words |= {kind: rng.choice(names) for kind, names in world.names[language].items()}
    patterns: tuple[str, ...] = STORIES[language]
    if "currency" in world.names[language]:
        patterns = (*patterns, *CURRENCY_STORIES[language] * 3)
    text = rng.choice(patterns).format(**words)
    return text[0].upper() + text[1:]


def story(world: TrainingWorld, language: str, rng: random.Random) -> str:
    """Two to four story sentences."""
    return " ".join(story_sentence(world, language, rng) for _ in range(rng.randint(2, 4)))


def name_list(world: TrainingWorld, language: str, rng: random.Random) -> str:
    """A list of names of one kind, in no meaningful order."""
    kind = rng.choice(sorted(world.names[language]))
    return ", ".join(rng.sample(world.names[language][kind], 5)) + "."


def _with_stories(
    world: TrainingWorld, sentences: list[str], language: str, rng: random.Random
) -> str:
    """Sentences as one text, sometimes with a story sentence before or after them."""
    if rng.random() < 0.45:
        sentences.insert(0, story_sentence(world, language, rng))
    if rng.random() < 0.15:
        sentences.append(story_sentence(world, language, rng))
    return " ".join(sentences)


def epoch(world: TrainingWorld, seed: int) -> Iterator[str]:
    """Documents that state every claim once in every language, in a seeded order.

    Claims in a profile of their subject are stated more often.
    """
    rng = random.Random(seed)
    todo = [(claim, language) for claim in world.claims for language in LANGUAGES]
    rng.shuffle(todo)
    by_language = {k: [claim for claim, spoken in todo if spoken == k] for k in LANGUAGES}
    by_subject = defaultdict(list)
    for claim in world.claims:
        by_subject[claim.subject.id].append(claim)
    while any(by_language.values()):
        language = rng.choice([k for k, left in by_language.items() if left])
        left = by_language[language]
        taken = [left.pop() for _ in range(min(len(left), rng.choice((1, 1, 2, 3))))]
        if len(taken) == 1 and rng.random() < 0.2:
            taken = rng.sample(
                by_subject[taken[0].subject.id], len(by_subject[taken[0].subject.id])
            )
        sentences = [sentence(world, claim, language, rng) for claim in taken]
        yield _with_stories(world, sentences, language, rng)
        if rng.random() < 0.22:
            yield story(world, language, rng)
        elif rng.random() < 0.04:
            yield name_list(world, language, rng)


def held_out(world: TrainingWorld, language: str, *, documents: int, seed: int) -> list[str]:
    """Stories that are not in the training text: the same patterns, but a seed of their own."""
    rng = random.Random(f"held-out {seed} {language}")
    return [story(world, language, rng) for _ in range(documents)]
