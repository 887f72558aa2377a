"""Stored reports judged again: what other thresholds would have decided."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from factd.daemon.errors import BadConfig
from factd.daemon.gates import policy
from factd.daemon.gates.configured import Gates, gates_from
from factd.daemon.gates.measures import GatesTable
from factd.daemon.ledger import Ledger
from factd.daemon.prompts.edits import PromptSettings
from factd.store import queries


def replay(
    ledger: Ledger, prompts: PromptSettings, gates: Gates, given: Mapping[str, Any], *, limit: int
) -> list[dict[str, Any]]:
    """The decisions of the gates, some of them replaced, on the newest candidates with a report.

    given: gate -> its threshold, in place of the configured one. Newest candidates come first.
    Raises: BadConfig: an unknown gate, or a threshold out of range.
    """
    table = gates_with(gates.table, given)
    replaced = gates_from(table, write=prompts.write, served=prompts.served)
    with ledger.read() as session:
        candidates = queries.releases.list_candidates(session, limit=limit)
    rows = []
    for candidate in candidates:
        if candidate.report is not None:
            decision = policy.judge(candidate.report, replaced, fact_right=table.fact_right)
            row = {
                "candidate": candidate.id,
                "was": candidate.status.value,
                "now": "accepted" if decision.accepted else decision.verdict.value,
                "changed": decision.accepted != (candidate.status.value == "accepted"),
                "reasons": list(decision.reasons),
            }
            rows.append(row)
    return rows


def gates_with(table: GatesTable, given: Mapping[str, Any]) -> GatesTable:
    """The table [gates] with some thresholds replaced. Raises: BadConfig."""
    own = {name: getattr(table, name) for name in table.model_fields_set}
    try:
        return GatesTable(**{**own, **given})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BadConfig(f"gates.{key}: {first['msg']}; see `factd policy show`") from error
