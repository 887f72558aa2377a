"""Measures how many of its facts the reference model knows.

    python -m factd.reference.recall [--model DIR] [--json FILE]

Every fact is asked in every language, by greedy generation and normalised match: at the start of a
text, after another sentence, and after the prefixes of MEMIT's templates. The exit code is 1 if a
share is below `--least`.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from factd.editor.models.model import EditableModel, load_model
from factd.editor.scoring.judge import SortedNames, longer_names
from factd.editor.scoring.score import Probe, answers
from factd.reference import paths
from factd.reference.world import LANGUAGES, WorldClaim, facts_1998
from factd.store.catalogue.catalogue import Catalogue, load_catalogue

PRECEDING = {
    "en": "Anna wrote a letter on Monday.",
    "es": "Anna escribió una carta.",
    "ca": "L'Anna va escriure una carta.",
    "fr": "Anna a écrit une lettre.",
}


@dataclass(frozen=True, kw_only=True)
class Recall:
    """The share of facts recalled in one language and position."""

    language: str
    position: str  # "start", "after text", "template"
    facts: int
    share: float  # of prompts whose greedy answer is right, 0 to 1
    probability: float  # mean of e^-nll of the right answer; nll is per token
    subject_first: float  # the share among prompts that begin with the subject


def prefixes(language: str) -> dict[str, tuple[str, ...]]:
    """The texts that stand before a wording, by position."""
    settings = tomllib.loads(paths.SETTINGS.read_text(encoding="utf-8"))
    chosen = settings["method"]["memit"]["templates"][language]
    return {
        "start": ("",),
        "after text": (PRECEDING[language] + " ",),
        "template": tuple(f"{prefix}. " for prefix in chosen),
    }


def probes_of(
    claims: Iterable[WorldClaim], catalogue: Catalogue, language: str, before: Sequence[str]
) -> list[Probe]:
    """One probe per fact and wording, each with the next of the prefixes in turn."""
    probes: list[Probe] = []
    asked = tuple(claims)
    names = SortedNames(claim.object.labels[language] for claim in asked)
    for claim in asked:
        wordings = catalogue[claim.relation].wordings[language]
        for wording in (*wordings.edit, *wordings.check):
            prefix = before[len(probes) % len(before)]
            target = claim.object.labels[language]
            probe = Probe(
                kind="known",
                language=language,
                prompt=prefix + wording.format(claim.subject.labels[language]),
                target=target,
                accepted=(target,),
                contrast=None,
                fact=f"{claim.subject.id}/{claim.relation}/{wording.startswith('{}')}",
                relation=claim.relation,
                written_in=(),
                longer=longer_names((target,), names),
            )
            probes.append(probe)
    return probes


def recall(
    model: EditableModel, claims: Sequence[WorldClaim], language: str, position: str
) -> Recall:
    """The recall of one language in one position."""
    probes = probes_of(claims, load_catalogue(), language, prefixes(language)[position])
    given = answers(model, probes)
    opening = [a.right for a, p in zip(given, probes, strict=True) if p.fact.endswith("True")]
    return Recall(
        language=language,
        position=position,
        facts=len(claims),
        share=fmean(a.right for a in given),
        probability=fmean(2.718281828459045**-a.target_nll for a in given),
        subject_first=fmean(opening),
    )


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=paths.MODEL)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--least", type=float, default=0.95)
    parser.add_argument("--every", type=int, default=1, help="ask every n-th fact only")
    options = parser.parse_args()
    model = load_model(options.model)
    claims = facts_1998()[:: options.every]
    rows = []
    for language in LANGUAGES:
        for position in prefixes(language):
            rows.append(recall(model, claims, language, position))
            r = rows[-1]
            print(
                f"{r.language}  {r.position:<10}  right {r.share:.3f}  "
                f"subject first {r.subject_first:.3f}  probability {r.probability:.3f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps({"results": [asdict(r) for r in rows]}, indent=1) + "\n")
    sys.exit(0 if all(r.share >= options.least for r in rows) else 1)


if __name__ == "__main__":
    main()
