"""Which figures of a document no claim covers.

A figure is a number in digits. Some are no measurements, and rules tell them by their form:

- what stands in code: fences with a language, inline code, link targets, addresses, comments;
- dates, years after a preposition ("since 1998"), versions and names ("PostgreSQL 15", "GPT-J 6B");
- ids and symbols: digits that follow a letter ("P38"), hexadecimal of eight or more digits;
- ports, issue numbers ("#17"), numbers of sections, steps and list items.

A fence without a language, or of the language "text", shows the output of a program: its figures
need claims. Numbers that are written as words are not checked.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from factd.bench.evidence.claims import Claim

MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
FENCE = re.compile(r"(?ms)^```(\w*)\n.*?^```$")
OUTPUT = ("", "text")  # languages of fences that show what a program printed
CODE = re.compile(r"(?s)`[^`\n]+`|\]\([^)\s]*\)|<!--.*?-->|https?://\S+|\bdocs/\S+")
EXEMPT = re.compile(
    rf"""
    \b\d{{4}}-\d\d-\d\d(?:T[\d:.+Z-]+)?             # 2026-11-21
    |\b\d{{1,2}}\ {MONTH}\ \d{{4}}                  # 1 January 1998
    |\b(?i:in|since|of|from|until|to|year|after|before)\ (?:19|20)\d\d(?!\d|[.,]\d|\ \w+s\b)
    |\bv?\d+\.\d+\.\d+\b                            # 1.2.3
    |\b[a-f\d]*(?:[a-f]\d|\d[a-f])[a-f\d]*…?(?<=[a-f\d…]{{8}})  # 0d91a6cd7818
    |\b[^\W\d]+-?\d[\w.]*                           # P38, SHA-256, bfloat16
    |\b\w*[A-Z][\w-]*[A-Z]\w*(?:-[A-Z])?\ \d[\d.]*(?!\S)          # PostgreSQL 15
    |(?<=[a-z,;]\ )[A-Z][\w-]+\ \d+(?:\.\d+)?B?     # on Python 3.11
    |\b(?:[A-Z][\w-]*\ )?(?:\d\ )?\d+(?:\.\d+)?[BM]\b             # Llama 3 8B
    |(?<=\w):\d{{2,5}}\b                            # localhost:8000
    |\#\d+                                          # 17
    |(?:[Ss]ection|[Ss]tep|§)\ ?\d+(?:\.\d+)*
    |(?m:^\ *\d+\.\ )                               # 1. a list item
    |(?m:^\#+\ .*$)                                 # a heading
    """,
    re.VERBOSE,
)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")


@dataclass(frozen=True, kw_only=True)
class UnfoundedFigure:
    """A figure of a document without evidence, or a claim that the document does not make."""

    document: str
    line: int  # 0: not in the document
    text: str

    def __str__(self) -> str:
        place = f"{self.document}:{self.line}" if self.line else self.document
        return f"{place}: {self.text}"


def blanked(text: str) -> str:
    """A document with spaces in place of what holds no figures. Every place stays the same."""

    def fence(found: re.Match[str]) -> str:
        return found[0] if found[1] in OUTPUT else spaces(found[0])

    plain = FENCE.sub(fence, text)
    parts, end = [], 0
    for found in FENCE.finditer(plain):  # inline code exists outside of fences only
        parts += [CODE.sub(lambda m: spaces(m[0]), plain[end : found.start()]), found[0]]
        end = found.end()
    parts.append(CODE.sub(lambda m: spaces(m[0]), plain[end:]))
    return EXEMPT.sub(lambda m: spaces(m[0]), "".join(parts))


def spaces(text: str) -> str:
    """Spaces in place of every character; line breaks stay."""
    return re.sub(r"[^\n]", " ", text)


def pattern_of(claim: Claim) -> tuple[re.Pattern[str], list[int]]:
    """A pattern that finds a claim's text whatever its line breaks; a group for every figure."""
    parts, figures = [], []
    for number, piece in enumerate(claim.pieces, start=1):
        words = re.escape(piece.text)
        parts.append("(" + re.sub(r"(?:\\[ \n])+", r"\\s+", words) + ")")
        if piece.file:
            figures.append(number)
    return re.compile("".join(parts)), figures


def covered(text: str, claims: Iterable[Claim]) -> Iterator[tuple[Claim, list[tuple[int, int]]]]:
    """Every claim with the places of its figures in a document; none: the claim is not there."""
    for claim in claims:
        pattern, figures = pattern_of(claim)
        yield claim, [found.span(n) for found in pattern.finditer(text) for n in figures]


def problems(document: str, text: str, claims: Sequence[Claim]) -> list[UnfoundedFigure]:
    """Claims that a document does not make, and figures of it that no claim covers."""
    found, left = [], blanked(text)
    for claim, places in covered(text, [c for c in claims if c.document == document]):
        if not places:
            said = f"the files say: {claim.text.strip()}"
            found.append(UnfoundedFigure(document=document, line=0, text=said))
        for start, end in places:
            left = left[:start] + spaces(left[start:end]) + left[end:]
    lines = text.splitlines()
    for number in NUMBER.finditer(left):
        line = text.count("\n", 0, number.start()) + 1
        said = f"{number[0].strip()} stands in no claim: {lines[line - 1].strip()}"
        found.append(UnfoundedFigure(document=document, line=line, text=said))
    return found
