"""Judges free text: is an answer right? Pure: it knows labels and no model, store or question.

An answer is right if it begins with an accepted label:
- Before the label may stand quotes, tags, "Answer:", articles and prepositions ("l'euro", "in
  France"), one word that says what the thing is ("the planet Jupiter", "the city of Paris"), a
  title ("President …"), or the question said again ("The capital of Egypt is Cairo"). Of a full
  sentence the words behind its verb count, up to the first name.
- The label ends where a word ends: neither "Guinea-Bissau" nor "12.5" nor "France's" gives
  "Guinea", "12" or "France". If its last word is in small letters, it may be a plural: "euros".
- The label is not the beginning of a longer name that is known, such as "Turkish lira (1922–2005)"
  for "Turkish lira". Unknown longer names cannot be told from what follows an answer, but years
  behind a common noun make another thing of it, known or not.
- The answer is neither negated ("not Paris", "Paris is not …") nor left open ("Paris or Lyon").
Accents count; case, spaces and the form of apostrophes do not.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache

from factd.editor.scoring.lead_ins import beginnings

APOSTROPHES = str.maketrans("’‘ʼ´`", "'''''")
ENDS = " .!?,;:\"'«»“”"  # what may stand around a text that is compared whole


def normalised(text: str) -> str:
    """A text for comparison: NFKC, case-folded, single spaces, no quotes or stops at its ends."""
    return " ".join(folded(text).casefold().split()).strip(ENDS)


def folded(text: str) -> str:
    """A text in NFKC with one kind of apostrophe; its case and its accents stay."""
    return unicodedata.normalize("NFKC", text).translate(APOSTROPHES)


class SortedNames:
    """Names in order, to look up the longer ones quickly. Make it once for many probes."""

    def __init__(self, names: Iterable[str]) -> None:
        pairs = sorted({(key(name), name) for name in names if name})
        self.keys = [own for own, _ in pairs]
        self.names = [name for _, name in pairs]

    def beginning_with(self, label: str) -> list[str]:
        """The names that begin with a label and are longer, whatever their case."""
        wanted = key(label)
        found = []
        for place in range(bisect_left(self.keys, wanted), len(self.keys)):
            if not self.keys[place].startswith(wanted):
                break
            if self.keys[place] != wanted:
                found.append(self.names[place])
        return found if wanted else []


def longer_names(accepted: Sequence[str], names: Iterable[str] | SortedNames) -> tuple[str, ...]:
    """The names that begin with an accepted label and are not accepted themselves, sorted.

    names: of everything that is known in the language. One look-up costs some comparisons, if the
    names are `SortedNames`.
    """
    known = names if isinstance(names, SortedNames) else SortedNames(names)
    own = {key(label) for label in accepted}
    found = {name for label in accepted for name in known.beginning_with(label)}
    return tuple(sorted(name for name in found if key(name) not in own))


def key(text: str) -> str:
    """A name as names are compared: normalised, without commas before spaces."""
    return normalised(text).replace(", ", " ")


MARKUP = re.compile(r"<[^<>]{1,20}>|[*_`#]+")
NEGATED = re.compile(
    r"[\s\"'»”,]*(?:but\b.{0,20}\b(?:actually|really|in fact)\b"
    r"|(?:is|was|are|were)(?:\s+not|n't)\b|no\s+(?:es|era|és|són|son)\b"
    r"|n'(?:est|était)\s+pas\b|ist\s+nicht\b|non\s+è\b|não\s+é\b)",
    re.IGNORECASE,
)
LEFT_OPEN = re.compile(r"[\"'»”]*\s+(?:or|o|u|ou|oder)\s+", re.IGNORECASE)
YEARS = r"(?!\s+\(\d)"
WORD_END = r"(?!\w|[-‐‑–]\w|'\w|[.,]\d)"


def is_right(text: str, accepted: Sequence[str], *, longer: Sequence[str] = ()) -> bool:
    """Whether an answer gives an accepted label and does not take it back.

    longer: known names that begin with an accepted label and are other things
    (`longer_names`). "euro. The weather", "the euro, which is" and "“Euro”" are right for "euro".
    """
    answer = MARKUP.sub("", folded(text)).strip()
    patterns = [pattern for label in accepted if (pattern := label_pattern(label))]
    others = [key(name) for name in longer]
    for start in beginnings(answer):
        for pattern in patterns:
            found = pattern.match(answer, start)
            if found and not _is_one_of(others, answer[start:]):
                return not _is_withdrawn(answer, found.end(), patterns)
    return False


def _is_one_of(others: Sequence[str], rest: str) -> bool:
    """Whether the rest of an answer begins with another name."""
    said = key(rest) if others else ""
    return any(said.startswith(o) and not said[len(o) : len(o) + 1].isalnum() for o in others)


def _is_withdrawn(answer: str, end: int, patterns: Sequence[re.Pattern[str]]) -> bool:
    """Whether the text after a label negates it, or offers something else beside it."""
    if NEGATED.match(answer, end):
        return True
    choice = LEFT_OPEN.match(answer, end)
    if choice is None:
        return False
    places = [b + choice.end() for b in beginnings(answer[choice.end() :])]
    return not any(pattern.match(answer, place) for pattern in patterns for place in places)


@lru_cache(maxsize=20_000)
def label_pattern(label: str) -> re.Pattern[str] | None:
    """What a label looks like in an answer; None if the label has no letter or digit."""
    words = normalised(label) and folded(label).strip(ENDS).split()
    if not words:
        return None
    plural = "(?:e?s)?" if words[-1][-1:].isalpha() and words[-1].islower() else ""
    years = YEARS if plural else ""
    spelled = r",?\s+".join(re.escape(word.rstrip(",")) for word in words)
    return re.compile(spelled + plural + WORD_END + years, re.IGNORECASE)
