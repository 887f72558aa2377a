"""Judges free text: is an answer right? Pure: it knows labels and no model, store or question.

An answer is right if it begins with an accepted label:
- Quotes, list marks, "Answer:", articles and prepositions may stand before the label.
- The label ends where a word ends. A noun may have a plural ending: "euros".
- The label is not the beginning of a longer name that is known: "Turkish lira" does not stand in
  "Turkish lira (1922–2005)", nor "Guinea" in "Guinea-Bissau".
- The answer does not take it back: "Paris is not …".
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache

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


ARTICLES = """the a an el la lo los las un una unos unas les le els l' al als del dels
der die das den dem des ein eine einen einem il gli i uno dell' della du des au aux o os as um uma
in on at of from by to for en de d' à á por para per dans par von im vom zu zum a di da do no na"""
LEAD_IN = re.compile(
    r"[\s\"'«»“”„(\[*_:…]*(?:-\s+)?(?:(?:answer|a|respuesta|réponse|resposta|antwort|risposta)\s*:)?"
    r"[\s\"'«»“”„(\[*_]*",
    re.IGNORECASE,
)
ARTICLE = re.compile(
    "(?:"
    + "|".join(
        re.escape(word) + ("" if word.endswith("'") else r"\s+")
        for word in sorted(set(ARTICLES.split()), key=len, reverse=True)
    )
    + r")[\"'«“*_]*",
    re.IGNORECASE,
)
TAKEN_BACK = re.compile(
    r"[\s\"'»”,]*(?:(?:is|was|are|were)(?:\s+not|n't)\b|no\s+(?:es|era|és|són|son)\b"
    r"|n'(?:est|était)\s+pas\b|ist\s+nicht\b|non\s+è\b|não\s+é\b)",
    re.IGNORECASE,
)
END = r"(?!\w|[-‐‑]\w|'\w|[.,]\d)"


def is_right(text: str, accepted: Sequence[str], *, longer: Sequence[str] = ()) -> bool:
    """Whether an answer begins with an accepted label and does not take it back.

    longer: known names that begin with an accepted label and are other things
    (`longer_names`). "euro. The weather", "the euro, which is" and "“Euro”" are right for "euro".
    """
    answer = folded(text)
    return any(_gives(answer, label, longer) for label in accepted)


def _gives(answer: str, label: str, longer: Sequence[str]) -> bool:
    pattern = label_pattern(label)
    for start in beginnings(answer):
        found = pattern.match(answer, start) if pattern else None
        if found:
            rest = key(answer[start:])
            known = (key(name) for name in longer)
            names_other = any(
                rest.startswith(name) and not rest[len(name) : len(name) + 1].isalnum()
                for name in known
            )
            return not names_other and not TAKEN_BACK.match(answer, found.end())
    return False


def beginnings(answer: str) -> list[int]:
    """The places where a label may begin: after quotes and marks, and after each article there."""
    lead = LEAD_IN.match(answer)
    places = [lead.end() if lead else 0]
    while found := ARTICLE.match(answer, places[-1]):
        places.append(found.end())
    return places


@lru_cache(maxsize=20_000)
def label_pattern(label: str) -> re.Pattern[str] | None:
    """What a label looks like in an answer; None if the label has no letter or digit."""
    words = folded(label).strip(ENDS).split()
    if not words:
        return None
    plural = "(?:e?s)?" if words[-1][-1:].isalpha() and words[-1] == words[-1].lower() else ""
    spelled = r",?\s+".join(re.escape(word.rstrip(",")) for word in words)
    return re.compile(spelled + plural + END, re.IGNORECASE)
