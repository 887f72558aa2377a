"""What was measured, pure: probe sets, beliefs, facts set aside with their evidence, audits of releases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ProbeSet:
    """A version of the questions that every release is asked."""

    version: int
    digest: str  # SHA-256 of its content
    basis: str  # SHA-256 of what it was built for
    counts: Mapping[str, int]  # "known en" -> number of questions
    why: str
    made_at: datetime

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "version": self.version,
            "digest": self.digest,
            "counts": dict(self.counts),
            "why": self.why,
            "made_at": self.made_at.isoformat(),
        }


@dataclass(frozen=True, kw_only=True)
class Belief:
    """What the base model believes about a fact in one language, from several wordings and decodings."""

    fact_id: str
    language: str
    answer: str  # the commonest, normalised
    certainty: float  # its share of all decodings, 0 to 1
    agreement: float  # share of the wordings whose greedy answer it is
    asked: int  # decodings
    others: Mapping[str, float] = field(default_factory=dict)  # other answers -> share

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "language": self.language,
            "answer": self.answer,
            "certainty": self.certainty,
            "agreement": self.agreement,
            "asked": self.asked,
            "others": dict(self.others),
        }


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """A fact that blame set aside."""

    fact_id: str
    candidate_id: int | None  # None: before one was made
    reason: str
    evidence: Mapping[str, Any]
    at: datetime

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "fact": self.fact_id,
            "candidate": self.candidate_id,
            "reason": self.reason,
            "evidence": dict(self.evidence),
            "at": self.at.isoformat(),
        }


class AuditOutcome(StrEnum):
    """How an audit of the live release ended."""

    PASSED = "passed"
    REPAIRED = "repaired"  # its files were damaged and were written again
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """One audit of the live release."""

    release: int
    outcome: AuditOutcome
    action: str  # what was done about it; empty: nothing was needed
    reasons: Sequence[str]
    report: Mapping[str, Any]
    at: datetime

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "release": self.release,
            "outcome": self.outcome.value,
            "action": self.action,
            "reasons": list(self.reasons),
            "at": self.at.isoformat(),
            **self.report,
        }
