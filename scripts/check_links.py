"""Checks the links of Markdown files without a network: files, folders, images and headings.

    python scripts/check_links.py README.md docs …

Prints one line for each link that leads nowhere and exits with 1 if there is one. Links to the web
are not followed. A link may not leave the repository, and within docs/ it may not leave docs/,
because the documentation site holds nothing else.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

FENCE = re.compile(r"(?ms)^( *)(```+|~~~+).*?^\1\2\s*$")
COMMENT = re.compile(r"(?s)<!--.*?-->")
INLINE_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
LINK = re.compile(r"\]\(\s*<?([^()\s>]*(?:\([^()\s]*\)[^()\s>]*)*)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"(?m)^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?\s*$")
SOURCE = re.compile(r"<(?:img|a|source)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"")
ANCHOR = re.compile(r"<a\b[^>]*?\b(?:id|name)=\"([^\"]+)\"")
EXTERNAL = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


def prose(text: str) -> str:
    """The text without code and comments, line numbers unchanged."""
    for pattern in (FENCE, COMMENT, INLINE_CODE):
        text = pattern.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)
    return text


def links(text: str) -> Iterator[tuple[int, str]]:
    """(line, target) of every link and image."""
    plain = prose(text)
    for pattern in (LINK, REFERENCE, SOURCE):
        for found in pattern.finditer(plain):
            yield plain.count("\n", 0, found.start(1)) + 1, found.group(1)


def slug(title: str) -> str:
    """The anchor of a heading, as GitHub and the documentation site make it."""
    bare = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", title)
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", bare).strip().lower())


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page: of its headings, repeated ones with a number, and explicit ones."""
    text = page.read_text(encoding="utf-8")
    found = set(ANCHOR.findall(text))
    plain = FENCE.sub("", COMMENT.sub("", text))
    for title in re.findall(r"(?m)^#{1,6} +(.+?)\s*#*$", plain):
        name, number = slug(title), 0
        while (name if not number else f"{name}_{number}") in found:
            number += 1
        found.add(f"{name}_{number}" if number else name)
    return frozenset(found)


def problem(page: Path, target: str, root: Path) -> str:
    """Why a link leads nowhere; empty where it leads somewhere."""
    if EXTERNAL.match(target):
        return ""
    name, _, anchor = target.partition("#")
    aim = (page.parent / name).resolve() if name else page.resolve()
    docs = root / "docs"
    limit = docs if page.resolve().is_relative_to(docs) else root
    if not aim.exists():
        return "no such file"
    if not aim.is_relative_to(limit):
        return f"leaves {limit.name}/"
    if anchor and aim.suffix == ".md" and anchor not in anchors(aim):
        return f"no heading #{anchor}"
    return ""


def problems(pages: Iterable[Path], root: Path) -> Iterator[str]:
    """A line for each link that leads nowhere."""
    for page in pages:
        for line, target in links(page.read_text(encoding="utf-8")):
            why = problem(page, target, root)
            if why:
                yield f"{page}:{line}: {target}: {why}"


def pages_of(paths: Iterable[Path]) -> list[Path]:
    """The Markdown files of files and folders."""
    return [
        page for path in paths for page in (sorted(path.rglob("*.md")) if path.is_dir() else [path])
    ]


def main() -> int:
    """The exit code."""
    pages = pages_of(map(Path, sys.argv[1:]))
    found = list(problems(pages, Path.cwd()))
    for line in found:
        sys.stderr.write(f"{line}\n")
    sys.stdout.write(f"{len(pages)} pages, {len(found)} links that lead nowhere\n")
    return int(bool(found) or not pages)


if __name__ == "__main__":
    sys.exit(main())
