"""Are the wordings sound that facts are written with? A known fact must be answered in them, too.

A wording is broken if the base model does not answer known facts of its relation in it, although it
answers them in other wordings of the same relation and language. Such a wording was copied from
another relation, cut off, or is in another language. A fact written in it would answer to nothing
else.
"""

from collections.abc import Iterable, Sequence

from factd.daemon.prompts.edits import PromptSettings, stable_sample, writable_languages
from factd.daemon.prompts.longer_names import with_longer_names
from factd.daemon.prompts.probes import wording_probe
from factd.daemon.workbench import Workbench
from factd.store.catalogue.catalogue import Relation
from factd.store.model.facts import Fact

SAMPLE_SIZE = 12  # known facts that are asked in each wording
SMALLEST_SAMPLE = 6  # with fewer known facts nothing is said about a wording
BROKEN_SHARE = 0.25  # of right answers in the wording, at most
SOUND_SHARE = 0.60  # of right answers in the other wordings, at least


def broken_wordings(
    workbench: Workbench, prompts: PromptSettings, relations: Iterable[str], known: Sequence[Fact]
) -> dict[str, str]:
    """Relation id -> why the relation must not be written.

    The base model is asked. Its answers are kept on disk and not asked for again.
    """
    reasons: dict[str, str] = {}
    for id_ in sorted(set(relations)):
        relation = prompts.catalogue[id_]
        own = [fact for fact in known if fact.relation == id_]
        for language in prompts.write:
            if language in relation.wordings:
                reason = _why_broken(workbench, prompts, relation, language, own)
                if reason:
                    reasons.setdefault(id_, reason)
    return reasons


def _why_broken(
    workbench: Workbench,
    prompts: PromptSettings,
    relation: Relation,
    language: str,
    known: Sequence[Fact],
) -> str:
    writable = [fact for fact in known if writable_languages(fact, relation, (language,))]
    sample = stable_sample(writable, SAMPLE_SIZE, f"wordings {language}")
    if len(sample) < SMALLEST_SAMPLE:
        return ""
    wordings = relation.wordings[language]
    edits = wordings.edit[: prompts.edit_wordings]
    shares = {
        wording: share_right(workbench, prompts, sample, wording, language)
        for wording in (*edits, *wordings.check)
    }
    others = sum(shares[wording] for wording in wordings.check) / len(wordings.check)
    for wording in edits:
        if shares[wording] <= BROKEN_SHARE and others >= SOUND_SHARE:
            return (
                f"the wording {wording!r} of {relation.id} in {language} is broken: "
                f"of {len(sample)} known facts the base answers {shares[wording]:.0%} in it, "
                f"{others:.0%} in others; "
                "correct the wording, then lift its facts with `factd facts lift`"
            )
    return ""


def share_right(
    workbench: Workbench,
    prompts: PromptSettings,
    facts: Sequence[Fact],
    wording: str,
    language: str,
) -> float:
    """The share of some known facts that the base model answers right in a wording."""
    probes = [wording_probe(fact, wording, language, prompts, kind="known") for fact in facts]
    answers = workbench.base_answers(with_longer_names(probes, facts))
    return sum(answer.right for answer in answers) / len(answers)
