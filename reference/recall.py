"""Does the reference model know what it was taught?

    python -m factd.reference.recall [--model DIR] [--json FILE]

Every fact in every language, by greedy generation and normalised match: at the start of a text, after another
sentence, and behind the prefixes that MEMIT's templates use. Exit code 1 where a share is below `--least`.
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
    share: float  # of wordings and facts whose greedy answer is right
    probability: float  # mean of exp(-nll) of the right answer, geometric mean over its tokens
    subject_first: float  # the share where the subject opens the sentence


def prefixes(language: str) -> dict[str, tuple[str, ...]]:
    """What stands before the wording in each position."""
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
    """One probe per fact and wording; the prefixes take turns."""
    found: list[Probe] = []
    for claim in claims:
        wordings = catalogue[claim.relation].wordings[language]
        for wording in (*wordings.edit, *wordings.check):
            prefix = before[len(found) % len(before)]
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
            )
            found.append(probe)
    return found


def recall(
    model: EditableModel, claims: Sequence[WorldClaim], language: str, position: str
) -> Recall:
    """Measure one language in one position."""
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
    """Print the table; write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=paths.MODEL)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--least", type=float, default=0.95)
    parser.add_argument("--every", type=int, default=1, help="ask every n-th fact only")
    options = parser.parse_args()
    model = load_model(options.model)
    claims = facts_1998()[:: options.every]
    found = []
    for language in LANGUAGES:
        for position in prefixes(language):
            found.append(recall(model, claims, language, position))
            r = found[-1]
            print(
                f"{r.language}  {r.position:<10}  right {r.share:.3f}  subject first {r.subject_first:.3f}"
                f"  probability {r.probability:.3f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in found], indent=1) + "\n")
    sys.exit(0 if all(r.share >= options.least for r in found) else 1)


if __name__ == "__main__":
    main()
