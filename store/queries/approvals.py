"""Operators' decisions about batches, by the batch's content hash."""

from datetime import datetime

from sqlalchemy.orm import Session

from factd.store.errors import StaleState
from factd.store.model.operations import Approval, Consent
from factd.store.schema.operations import ApprovalRow


def approval(session: Session, batch_id: str) -> Approval | None:
    """The operator's decision about a batch; None if there is none yet."""
    row = session.get(ApprovalRow, batch_id, populate_existing=True)
    if row is None:
        return None
    return Approval(
        batch_id=row.batch_id, consent=Consent(row.consent), who=row.who, why=row.why, at=row.at
    )


def save_approval(
    session: Session, batch_id: str, consent: Consent, *, who: str, why: str, now: datetime
) -> None:
    """Store an operator's decision about a batch.

    Raises: StaleState: somebody has already decided the opposite.
    """
    before = approval(session, batch_id)
    if before is not None and before.consent is not consent:
        reason = before.why or "no reason given"
        raise StaleState(
            f"batch {batch_id[:12]} was already {before.consent} by {before.who}: {reason}"
        )
    session.merge(ApprovalRow(batch_id=batch_id, consent=consent, who=who, why=why, at=now))
