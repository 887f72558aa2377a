"""What one edit works with."""

from collections.abc import Mapping
from dataclasses import dataclass

from factd.daemon.artefacts.versions import Versions
from factd.daemon.config.tables import BlameTable
from factd.daemon.fleet import Fleet
from factd.daemon.gates.configured import Gates
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.planning.limits import PlanningRules
from factd.daemon.plugins import ConfiguredSource
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.workbench import Workbench


@dataclass(frozen=True, kw_only=True)
class EditParts:
    """The parts of the application that the steps of an edit take, each the ones it uses."""

    ledger: Ledger
    paths: Paths
    versions: Versions
    workbench: Workbench
    prompts: PromptSettings
    gates: Gates
    planning: PlanningRules
    sources: Mapping[str, ConfiguredSource]
    fleet: Fleet
    blame: BlameTable
