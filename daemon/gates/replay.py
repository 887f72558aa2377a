"""Stored reports judged again: what other thresholds would have decided."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from factd.daemon.config.gates import GatesTable
from factd.daemon.errors import BadConfig
from factd.daemon.gates import policy
from factd.daemon.gates.configured import Gates, gates_from
from factd.daemon.ledger import Ledger
from factd.daemon.prompts.edits import PromptSettings
from factd.store import queries


def replayed(
    ledger: Ledger, prompts: PromptSettings, gates: Gates, given: Mapping[str, Any], *, limit: int
) -> list[dict[str, Any]]:
    """What the gates, with some replaced, say of the newest candidates that have a report, the newest first.

    Raises: BadConfig: a gate that there is not, or a bound that is none.
    """
    table = gates_with(gates.table, given)
    bounds = gates_from(table, write=prompts.write, served=prompts.served)
    with ledger.read() as session:
        found = queries.releases.list_candidates(session, limit=limit)
    rows = []
    for candidate in found:
        if candidate.report is not None:
            said = policy.judge(candidate.report, bounds, fact_right=table.fact_right)
            row = {
                "candidate": candidate.id,
                "was": candidate.status.value,
                "now": "accepted" if said.accepted else said.verdict.value,
                "changed": said.accepted != (candidate.status.value == "accepted"),
                "reasons": list(said.reasons),
            }
            rows.append(row)
    return rows


def gates_with(table: GatesTable, given: Mapping[str, Any]) -> GatesTable:
    """The gates with some replaced. Raises: BadConfig."""
    held = {name: getattr(table, name) for name in table.model_fields_set}
    try:
        return GatesTable(**{**held, **given})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BadConfig(f"gates.{key}: {first['msg']}; see `factd policy show`") from error
