"""The objects of factd that the pages are made of. Every import path of factd stands here."""

import pkgutil
import re
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

COMMAND_LINE = "factd.daemon.cli.main:cli"
BENCHMARKS = "factd.bench.commands:add"
CONFIG = "factd.daemon.configuration:Config"
THRESHOLD = "factd.daemon.gates.measures:Threshold"
MEASURES = "factd.daemon.gates.measures:MEASURES"
METHODS = "factd.editor.methods"
EXPORTER = "factd.daemon.metrics.exporter"
METRICS_OF = "factd.daemon.runtime.metrics:metrics_of"
OPEN_APP = "factd.daemon.app:open_app"
LOAD_CONFIG = "factd.daemon.configuration:load_config"
UPGRADE_DATABASE = "factd.store.database.migrate:upgrade"
KINDS = {  # table of the configuration -> the package with a file for each of its kinds
    "sources": "factd.daemon.sources",
    "publish": "factd.daemon.publishers",
    "servers": "factd.daemon.servers",
    "notify": "factd.daemon.channels",
}
# Enough for the exporter to name every series: an adapter and a server that is never asked.
EVERYTHING = """
[model]
path = "model"
[publish.adapter]
[servers.eu]
kind = "sglang"
url = "http://127.0.0.1:1"
model = "model"
"""


def load(path: str) -> Any:
    """The object that "module:name" names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def command_line() -> Any:
    """The root command, with its subcommands under `commands`.

    `factd bench` comes from the entry points of the installation. An editable installation that is
    older than the checkout lacks them; then the benchmarks are added here.
    """
    cli = load(COMMAND_LINE)
    if all(group.name != "bench" for group in cli.registered_groups):
        load(BENCHMARKS)(cli)
    return typer.main.get_command(cli)


def plugins(package: str) -> dict[str, Any]:
    """The `Settings` class of each plugin of a package by the plugin's name, in alphabetical order."""
    names = [module.name for module in pkgutil.iter_modules(import_module(package).__path__)]
    public = sorted(name for name in names if not name.startswith("_"))
    return {name: load(f"{package}.{name}:Settings") for name in public}


def metric_samples() -> list[str]:
    """The sample lines that the exporter's docstring shows; a test compares them with a scrape."""
    doc = import_module(EXPORTER).__doc__ or ""
    return [line for line in doc.splitlines() if line.startswith("factd_")]


def metric_help() -> Mapping[str, tuple[str, str]]:
    """Name of every series -> (type, help), from a scrape of a factd with an empty database."""
    exporter = import_module(EXPORTER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "factd.toml"
        path.write_text(EVERYTHING, encoding="utf-8")
        load(UPGRADE_DATABASE)(load(LOAD_CONFIG)(path).database)
        app = load(OPEN_APP)(path)
        text = exporter.exposition(load(METRICS_OF)(app).registry, "")[0].decode()
        app.ledger.store.close()
    kinds = dict(re.findall(r"# TYPE (factd_\w+) (\w+)", text))
    return {
        name: (kinds[name], said) for name, said in re.findall(r"# HELP (factd_\w+) (.*)", text)
    }
