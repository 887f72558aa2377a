"""What was measured: probe sets, beliefs, facts in quarantine, audits of releases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ProbeSet:
    """One version of the questions that every release is asked."""

    version: int
    digest: str  # SHA-256 of its content
    basis: str  # SHA-256 of its inputs: base model, languages, …
    counts: Mapping[str, int]  # kind and language ("known en") -> number of questions
    why: str
    made_at: datetime

    def as_json(self) -> dict[str, Any]:
        """The value for `--json`."""
        return {
            "version": self.version,
            "digest": self.digest,
            "counts": dict(self.counts),
            "why": self.why,
            "made_at": self.made_at.isoformat(),
        }


@dataclass(frozen=True, kw_only=True)
class Belief:
    """The base model's belief about a fact in one language, from several wordings and decodings."""

    fact_id: str
    language: str
    answer: str  # the most frequent answer, normalised
    certainty: float  # share of all decodings that give this answer, 0 to 1
    agreement: float  # share of the wordings whose greedy answer it is, 0 to 1
    asked: int  # number of decodings
    others: Mapping[str, float] = field(default_factory=dict)  # other answer -> share of decodings

    def as_json(self) -> dict[str, Any]:
        """The value for `--json`."""
        return {
            "language": self.language,
            "answer": self.answer,
            "certainty": self.certainty,
            "agreement": self.agreement,
            "asked": self.asked,
            "others": dict(self.others),
        }


@dataclass(frozen=True, kw_only=True)
class QuarantinedFact:
    """A fact that was set aside, with the evidence against it."""

    fact_id: str
    candidate_id: int | None  # None: the fact was set aside before a candidate was made
    reason: str
    evidence: Mapping[str, Any]
    at: datetime

    def as_json(self) -> dict[str, Any]:
        """The value for `--json`."""
        return {
            "fact": self.fact_id,
            "candidate": self.candidate_id,
            "reason": self.reason,
            "evidence": dict(self.evidence),
            "at": self.at.isoformat(),
        }


class AuditOutcome(StrEnum):
    """The outcome of an audit of the live release."""

    PASSED = "passed"
    REPAIRED = "repaired"  # the release's files were damaged and have been written again
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """One audit of the live release."""

    release: int
    outcome: AuditOutcome
    action: str  # what was done about the result; empty if nothing was needed
    reasons: Sequence[str]
    report: Mapping[str, Any]
    at: datetime

    def as_json(self) -> dict[str, Any]:
        """The value for `--json`."""
        return {
            "release": self.release,
            "outcome": self.outcome.value,
            "action": self.action,
            "reasons": list(self.reasons),
            "at": self.at.isoformat(),
            **self.report,
        }
