"""Makes the files of results that are missing or stale, and prints every claim with its file.

    python -m factd.bench.evidence [--claims FILE] [--only-table]

A file is stale if it was made by other code (its digest of the sources differs), or if it does not
name its command, date and machine. To make all of them takes hours. A command that fails is
reported and does not stop the others. The exit code is 1 if a command failed, if a figure of a
document has no evidence, or if a claim differs from its document.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from factd.bench.evidence.claims import BadClaim, Claim, ClaimedFigures, ResultFile, load_evidence
from factd.bench.evidence.numbers import UnfoundedFigure, problems
from factd.bench.measure import code_digest, environment, text_table
from factd.reference import paths

ROOT = paths.ROOT.parent  # of the repository
CLAIMS = ROOT / "docs" / "results" / "claims.toml"
WIDEST = 76  # characters of a claim in the table


def declared(path: Path) -> dict[str, str]:
    """File of results -> the command that makes it."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: str(row["command"]) for name, row in table["files"].items()}


def state(file: ResultFile, code: str) -> str:
    """How far the figures of a file can be trusted."""
    if file.data is None:
        return "missing"
    if not file.is_stated:
        return "not reproduced"
    return "reproduced" if file.is_of(code) else "of earlier code"


def stale(path: Path, code: str) -> dict[str, list[Path]]:
    """Command -> the files that it makes, for those that must be made."""
    found: dict[str, list[Path]] = {}
    for name, command in declared(path).items():
        file = path.parent / name
        data = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        held = ResultFile(name=name, command=command, data=data)
        if command and state(held, code) != "reproduced":
            found.setdefault(command, []).append(file)
    return found


def make(commands: Mapping[str, Iterable[Path]], code: str) -> list[str]:
    """Run commands from the root of the repository. Returns those that failed.

    The files of a command that failed stay as they were.
    """
    failed = []
    for command, files in commands.items():
        print(f"running {command}", flush=True)
        before = {file: file.read_bytes() if file.is_file() else None for file in files}
        if subprocess.run(command, shell=True, cwd=ROOT, check=False).returncode:
            failed.append(command)
            for file, content in before.items():
                put_back(file, content)
            continue
        for file in before:
            stamp(file, command, code)
    return failed


def put_back(file: Path, content: bytes | None) -> None:
    """Give a file its earlier content. None: there was no file."""
    if content is None:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(content)


def stamp(file: Path, command: str, code: str) -> None:
    """Add command, date, machine and code to a file of results that does not name them."""
    data: Any = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        data = {"results": data}
    whole = {**environment("cpu"), "command": command, "code": code, **data}
    file.write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def row(claim: Claim, evidence: ClaimedFigures, code: str) -> dict[str, str]:
    """The row of a claim: what the document says, its figures and where they stand."""
    files = list(dict.fromkeys(piece.file for piece in claim.figures))
    text = " ".join(claim.text.split())
    return {
        "claim": text if len(text) <= WIDEST else text[: WIDEST - 1] + "…",
        "document": claim.document,
        "figures": str(len(claim.figures)),
        "stands in": ", ".join(files),
        "state": ", ".join(dict.fromkeys(state(evidence.files[name], code) for name in files)),
    }


def file_row(file: ResultFile, code: str) -> dict[str, str]:
    """The row of a file of results: how, when and where it was made."""
    held = file.data if isinstance(file.data, dict) else {}
    return {
        "file": file.name,
        "command": file.command,
        "date": str(held.get("date") or "not stated"),
        "machine": str(held.get("device") or "not stated"),
        "state": state(file, code),
    }


def all_problems(evidence: ClaimedFigures, root: Path) -> list[UnfoundedFigure]:
    """What is wrong in every document that must have evidence."""
    return [
        problem
        for name in evidence.documents
        for problem in problems(name, (root / name).read_text(encoding="utf-8"), evidence.claims)
    ]


def main() -> None:
    """Make what is stale, print the table, tell what is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--claims", type=Path, default=CLAIMS)
    parser.add_argument("--only-table", action="store_true", help="run nothing")
    options = parser.parse_args()
    code, failed = code_digest(), list[str]()
    if not options.only_table:
        failed = make(stale(options.claims, code), code)
    try:
        evidence = load_evidence(options.claims)
    except BadClaim as error:
        sys.exit(str(error))
    print(text_table([row(claim, evidence, code) for claim in evidence.claims]) + "\n")
    print(text_table([file_row(file, code) for file in evidence.files.values()]) + "\n")
    wrong = [f"failed: {command}" for command in failed]
    wrong += [str(problem) for problem in all_problems(evidence, ROOT)]
    print("\n".join(wrong) if wrong else "every figure stands in its file")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
