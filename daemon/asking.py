"""What the base model says about facts before they are written: known already, something else, or never heard of.

A fact is known where every wording that would be edited is answered right, in every written language. A subject is
unknown where its name, at its place in the relation's wordings, is about as unlikely as names that were made up: an edit
would be an insertion then, not a correction. On the reference model the 69 territories of the feed are at 1.1 to 6.3 nats
per token of their name, twelve made-up ones at 10.5 to 13.1. (How sure the model is of its own answer does not tell:
it is as sure about countries that do not exist.)
"""

from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

from daemon import render
from daemon.bootstrap import Factd
from daemon.planning import UNKNOWN_SUBJECT
from store.facts import Fact

if TYPE_CHECKING:
    from editor.score import Probe

INVENTED = ("Zorvanta", "Quillmere", "Bastrovia", "Ondrelle")
FAMILIAR_NATS = 2.5  # per token, that a name must be likelier than the made-up ones
KNOWN, OTHER = "known", "other"


def ask(factd: Factd, facts: Sequence[Fact]) -> dict[str, str]:
    """ "known", "other" or "unknown subject" by fact id."""
    asked = {fact.id: render.edit_probes(fact, factd.plan) for fact in facts}
    terminator = str(getattr(factd.method_settings(), "terminator", ""))
    flat = [probe for probes in asked.values() for probe in probes]
    said = factd.workbench.base_answers(flat, terminator)
    right = {(p.prompt, p.target): a.right for p, a in zip(flat, said, strict=True)}
    known = {id_ for id_, probes in asked.items() if all(right[p.prompt, p.target] for p in probes)}
    near = familiarity(factd, [fact for fact in facts if fact.id not in known])
    found = {id_: OTHER if nats >= FAMILIAR_NATS else UNKNOWN_SUBJECT for id_, nats in near.items()}
    return {fact.id: KNOWN if fact.id in known else found.get(fact.id, OTHER) for fact in facts}


def familiarity(factd: Factd, facts: Sequence[Fact]) -> dict[str, float]:
    """How much likelier a subject's name is than made-up ones, in nats per token, by fact id.

    Facts are left out none of whose wordings has words before the subject.
    """
    probes = {
        fact.id: [render.name_probes(fact, name, factd.plan) for name in ("", *INVENTED)]
        for fact in facts
    }
    flat = [p for rows in probes.values() for row in rows for p in row]
    said = factd.workbench.base_answers(flat, "")
    nll = {(p.prompt, p.target): a.target_nll for p, a in zip(flat, said, strict=True)}

    def nats(row: "Sequence[Probe]") -> float:
        return mean(nll[p.prompt, p.target] for p in row)

    return {
        id_: mean(nats(row) for row in others) - nats(own)
        for id_, (own, *others) in probes.items()
        if own
    }
