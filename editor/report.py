"""A check report: every measurement, the worst answers, what was measured and how long it took."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from editor import plugins
from editor.checks import Asked, Evidence, Measurement
from editor.delta import Delta, applied
from editor.model import EditableModel
from editor.score import Answer, Probe, answers
from editor.work import done, in_order

EXAMPLES = 40


@dataclass(frozen=True, kw_only=True)
class Example:
    """One probe with what the model said before and after."""

    kind: str
    language: str
    fact: str
    prompt: str
    expected: str
    before: str
    after: str
    right: bool


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """Measurements without a verdict."""

    fingerprint: str  # of the base model
    delta_id: str | None  # None: the base model itself
    measurements: tuple[Measurement, ...]
    examples: tuple[Example, ...]  # the wrong ones first
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; numbers that are none become null."""
        return _plain(asdict(self))  # type: ignore[no-any-return]  # a dict stays a dict

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CheckReport":
        """The report that `as_json` wrote."""
        rows = [{k: _number(k, v) for k, v in row.items()} for row in data["measurements"]]
        return cls(
            fingerprint=data["fingerprint"],
            delta_id=data["delta_id"],
            measurements=tuple(Measurement(**row) for row in rows),
            examples=tuple(Example(**row) for row in data["examples"]),
            seconds=data["seconds"],
        )

    def value(self, check: str, metric: str, language: str) -> Measurement | None:
        """One measurement, if it was made."""
        wanted = (check, metric, language)
        return next(
            (m for m in self.measurements if (m.check, m.metric, m.language) == wanted), None
        )


def _number(key: str, value: Any) -> Any:
    return float("nan") if value is None and key in ("value", "low", "high") else value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def run_checks(
    model: EditableModel,
    probes: Sequence[Probe],
    *,
    delta: Delta | None = None,
    terminator: str = "",
    before: tuple[Answer, ...] | None = None,
) -> CheckReport:
    """Ask the base model (or take its answers) and the edited one, and run every check."""
    started = time.monotonic()
    base = before if before is not None else answers_with(model, probes, None, terminator)
    after = answers_with(model, probes, delta, terminator) if delta else base
    evidence = Evidence(
        probes=tuple(probes),
        before=base,
        after=after,
        diagnostics=delta.diagnostics if delta else {},
    )
    found = [
        m
        for name in plugins.names("editor.checks")
        for m in plugins.load("editor.checks", name).check(evidence)
    ]
    return CheckReport(
        fingerprint=model.fingerprint,
        delta_id=delta.id if delta else None,
        measurements=tuple(found),
        examples=examples(evidence),
        seconds=time.monotonic() - started,
    )


def answers_with(
    model: EditableModel, probes: Sequence[Probe], delta: Delta | None, terminator: str
) -> tuple[Answer, ...]:
    """What a model with a delta answers, asked by its workers if it has any."""
    results = done(model, answers_of_probes, probes, delta=delta, terminator=terminator)
    return tuple(in_order(results, len(probes)))


def answers_of_probes(
    model: EditableModel, probes: Sequence[Probe], *, delta: Delta | None, terminator: str
) -> Iterator[tuple[int, Answer]]:
    """The task of `answers_with`."""
    with applied(model, delta) if delta else nullcontext():
        yield from enumerate(answers(model, probes, terminator=terminator))


def examples(evidence: Evidence) -> tuple[Example, ...]:
    """Some answers of every kind and language, the wrong ones first."""
    kinds = sorted({(p.kind, p.language) for p in evidence.probes})
    each = max(1, EXAMPLES // max(1, len(kinds)))
    found: list[Example] = []
    for kind, language in kinds:
        rows = [row for row in evidence.of(kind) if row.probe.language == language]
        found += [_example(row) for row in sorted(rows, key=lambda row: row.after.right)[:each]]
    return tuple(sorted(found, key=lambda example: example.right))


def _example(row: Asked) -> Example:
    return Example(
        kind=row.probe.kind,
        language=row.probe.language,
        fact=row.probe.fact,
        prompt=row.probe.prompt,
        expected=row.probe.target,
        before=row.before.text,
        after=row.after.text,
        right=row.after.right,
    )
