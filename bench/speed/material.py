"""Edits for benchmarks: known facts of the reference world get the object of another fact."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from factd.bench.quality.world import BenchWorld
from factd.editor.edits import ANY, Edit
from factd.editor.tuning.known import known_facts
from factd.editor.values.problem import ValueSettings

LANGUAGES = ("en", "es", "ca", "fr")


def public_edits(world: BenchWorld, count: int) -> list[Edit]:
    """The edits of public MEMIT: the feed in one wording per fact, only the essence row kept."""
    found: dict[tuple[str, str, str], Edit] = {}
    for edit in world.batch("en", "es").edits:
        key = (edit.subject, edit.language, edit.group)
        found.setdefault(key, replace(edit, group="", keep=()))
    return list(islice(found.values(), count))


def many_edits(world: BenchWorld, count: int) -> list[Edit]:
    """Known facts in several wordings and languages, each with the object of another fact.

    Raises: ValueError: the reference world has fewer of them.
    """
    found: list[Edit] = []
    for language in LANGUAGES:
        for number in range(2):
            rows = [
                Edit(
                    prompt=relation.wordings[language].edit[number],
                    subject=fact.subject.labels[language],
                    target_new=ANY,
                    target_true=fact.object.labels[language],
                    language=language,
                )
                for fact in world.known
                if language in (relation := world.catalogue[fact.relation]).wordings
                and number < len(relation.wordings[language].edit)
                and language in fact.subject.labels
                and language in fact.object.labels
            ]
            found += [known.edit for known in known_facts(rows)]
            if len(found) >= count:
                return found[:count]
    raise ValueError(f"the reference world gives {len(found)} edits, not {count}")


def public_settings(world: BenchWorld, *, prefixes: int = 5) -> ValueSettings:
    """The settings of public MEMIT: 25 evaluations, six templates, the KL row, early stop at 0.05.

    The step size is the one tuned for this model.
    """
    settings = replace(
        world.settings,
        v_num_grad_steps=25,
        loss_threshold=0.05,
        keep_factor=0.0,
        terminator="",
        whole_target=False,
        share_wordings=False,
    )
    templates = {k: tuple(v)[:prefixes] for k, v in world.settings.templates.items()}
    return settings.values(templates)


def groups_of(edits: Sequence[Edit]) -> list[list[Edit]]:
    """Groups of one edit each."""
    return [[edit] for edit in edits]
