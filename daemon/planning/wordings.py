"""Are the wordings sound that facts are written with? What the base model knows, it must answer in them, too.

A wording in which known facts of its relation are not answered, while other wordings of the same relation and language are, is
broken: copied from another relation, cut off, in another language. Facts would be written under it and answer to nothing else.
"""

from collections.abc import Iterable, Sequence

from factd.daemon.prompts.edits import PromptSettings, stable_sample, writable_languages
from factd.daemon.prompts.probes import wording_probe
from factd.daemon.workbench import Workbench
from factd.store.catalogue.catalogue import Relation
from factd.store.model.facts import Fact

SAMPLE = 12  # known facts that each wording is asked about
FEWEST = 6
BROKEN, SOUND = 0.25, 0.60  # shares of right answers: of the wording, of the others


def broken_wordings(
    workbench: Workbench, prompts: PromptSettings, relations: Iterable[str], known: Sequence[Fact]
) -> dict[str, str]:
    """Why a relation must not be written, by its id; the base model is asked, and remembers."""
    found: dict[str, str] = {}
    for id_ in sorted(set(relations)):
        relation = prompts.catalogue[id_]
        mine = [fact for fact in known if fact.relation == id_]
        for language in prompts.write:
            if language in relation.wordings:
                reason = _broken(workbench, prompts, relation, language, mine)
                if reason:
                    found.setdefault(id_, reason)
    return found


def _broken(
    workbench: Workbench,
    prompts: PromptSettings,
    relation: Relation,
    language: str,
    known: Sequence[Fact],
) -> str:
    can = [fact for fact in known if writable_languages(fact, relation, (language,))]
    sample = stable_sample(can, SAMPLE, f"wordings {language}")
    if len(sample) < FEWEST:
        return ""
    wordings = relation.wordings[language]
    edits = wordings.edit[: prompts.edit_wordings]
    shares = {w: share(workbench, prompts, sample, w, language) for w in (*edits, *wordings.check)}
    others = sum(shares[w] for w in wordings.check) / len(wordings.check)
    for wording in edits:
        if shares[wording] <= BROKEN and others >= SOUND:
            return (
                f"the wording {wording!r} of {relation.id} in {language} is broken: of {len(sample)} known facts the base "
                f"answers {shares[wording]:.0%} in it, {others:.0%} in others; mend it, then lift"
            )
    return ""


def share(
    workbench: Workbench,
    prompts: PromptSettings,
    facts: Sequence[Fact],
    wording: str,
    language: str,
) -> float:
    """The share of some known facts that the base model answers right in a wording."""
    probes = [wording_probe(fact, wording, language, prompts, kind="known") for fact in facts]
    answers = workbench.base_answers(probes)
    return sum(answer.right for answer in answers) / len(answers)
