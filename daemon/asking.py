"""What the base model says about facts before they are written: known already, something else, or never heard of.

A fact is known where every wording that would be edited is answered right, in every written language. A subject is
unknown where the model's own answer about it is no likelier than the same answer about subjects that were made up: an
edit would be an insertion then, not a correction (familiarity, in nats per token of the answer).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean
from typing import TYPE_CHECKING

from daemon import render
from daemon.bootstrap import Factd
from daemon.planning import UNKNOWN_SUBJECT
from store.facts import Fact

if TYPE_CHECKING:
    from editor.score import Answer, Probe

INVENTED = ("Zorvanta", "Quillmere", "Bastrovia", "Ondrelle")
FAMILIAR_NATS = 0.25  # measured on the reference model, see tests/integration/test_asking.py
KNOWN, OTHER = "known", "other"


def ask(factd: Factd, facts: Sequence[Fact]) -> dict[str, str]:
    """ "known", "other" or "unknown subject" by fact id."""
    asked = {fact.id: render.edit_probes(fact, factd.plan) for fact in facts}
    first = _answers(factd, [probe for probes in asked.values() for probe in probes])
    left = {fact.id: [(p, first[p.prompt, p.target]) for p in asked[fact.id]] for fact in facts}
    found = {
        id_: KNOWN for id_, said in left.items() if said and all(answer.right for _, answer in said)
    }
    others = {id_: said for id_, said in left.items() if id_ not in found}
    near = familiarity(factd, facts, others)
    return found | {id_: OTHER if near[id_] >= FAMILIAR_NATS else UNKNOWN_SUBJECT for id_ in others}


def familiarity(
    factd: Factd, facts: Sequence[Fact], said: "Mapping[str, Sequence[tuple[Probe, Answer]]]"
) -> dict[str, float]:
    """How much likelier the model's own answers are about a subject than about made-up ones: nats per token, by fact id."""
    probes: dict[str, list[tuple[Probe, list[Probe]]]] = {}
    for fact in facts:
        for probe, answer in said.get(fact.id, ()):
            text = answer.text.split("\n")[0].split(".")[0].strip() or probe.target
            own = replace(probe, target=text, contrast=None)
            name = fact.subject.labels[probe.language]
            made_up = [
                replace(own, prompt=probe.prompt.replace(name, invented)) for invented in INVENTED
            ]
            probes.setdefault(fact.id, []).append((own, made_up))
    flat = [p for rows in probes.values() for own, others in rows for p in (own, *others)]
    found = _answers(factd, flat)

    def nll(probe: "Probe") -> float:
        return found[probe.prompt, probe.target].target_nll

    return {
        id_: mean(mean(nll(p) for p in others) - nll(own) for own, others in rows)
        for id_, rows in probes.items()
    }


def _answers(factd: Factd, probes: "Sequence[Probe]") -> "dict[tuple[str, str], Answer]":
    terminator = str(getattr(factd.method_settings(), "terminator", ""))
    found = factd.workbench.base_answers(probes, terminator)
    return {(p.prompt, p.target): answer for p, answer in zip(probes, found, strict=True)}
