"""Rules, dashboard and runbook name only series that exist.

Every alert has its section in the runbook and its tests.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from factd.daemon.metrics.exporter import Metrics, exposition
from factd.daemon.runtime.metrics import metrics_of
from factd.store.model.releases import RunStatus
from support.paths import ROOT
from support.populated import populated_app, scraped, series
from support.world import NOW

PROMETHEUS = ROOT / "deploy" / "prometheus"
TESTS = sorted(path.name for path in PROMETHEUS.glob("*_test.yml"))
RUNBOOK = ROOT / "docs" / "how-to" / "operate" / "runbook.md"
OWN_OF_PROMETHEUS = {"up", "ALERTS"}
WORDS = {  # of PromQL
    *("by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless"),
    *("offset", "bool", "inf", "nan"),
}


def names_in(expression: str) -> set[str]:
    """The series in a PromQL expression, without functions, keywords, labels and strings."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    bare = re.sub(r"\{[^}]*\}", " ", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    found = re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)
    return {name for name in found if name not in WORDS}


def rules() -> list[dict[str, Any]]:
    text = (PROMETHEUS / "factd.rules.yml").read_text()
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "factd.json").read_text())
    return found


def expressions() -> dict[str, str]:
    """Every expression of rules and dashboard, by where it stands."""
    found = {f"rule {rule['alert']}": str(rule["expr"]) for rule in rules()}
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            found[f"panel {panel['title']} {target['refId']}"] = target["expr"]
    for note in dashboard()["annotations"]["list"]:
        found[f"annotation {note['name']}"] = note["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            found[f"variable {variable['name']}"] = (
                variable["definition"].split("(")[1].split(",")[0]
            )
    return found


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrics]:
    app = populated_app(tmp_path_factory.mktemp("factd"), NOW)
    found = metrics_of(app)
    found.run_ended("cycle", RunStatus.DONE, 1.0, 1)
    yield found
    app.ledger.store.close()


def test_the_names_of_an_expression_are_its_series() -> None:
    text = (
        'sum without (a) (increase(x_total{b="c d"}[1h])) > on () group_left () '
        "3 * max(y) or vector(0) unless z == 1"
    )
    assert names_in(text) == {"x_total", "y", "z"}


def test_every_series_of_rules_and_dashboard_exists(metrics: Metrics) -> None:
    there = series(scraped(metrics)) | OWN_OF_PROMETHEUS
    missing = {where: names_in(text) - there for where, text in expressions().items()}
    assert {where: names for where, names in missing.items() if names} == {}
    assert len(missing) > 60


def test_labels_that_are_asked_for_exist(metrics: Metrics) -> None:
    told: dict[str, set[tuple[str, str]]] = {}
    for name, labels in scraped(metrics):
        told.setdefault(name, set()).update(labels)
    for where, text in expressions().items():
        for name, inner in re.findall(r"\b(factd_\w+)\{([^}]*)\}", text):
            for label, value in re.findall(r'(\w+)="([^"$]*)"', inner):
                known = {k for k, _ in told[name]}
                assert label in known, (where, name, label)
                is_open = name in (
                    "factd_live_measurement",
                )  # what was measured depends on the batch
                assert is_open or (label, value) in told[name], (where, name, label, value)


def test_every_series_is_looked_at_somewhere(metrics: Metrics) -> None:
    asked = set().union(*(names_in(text) for text in expressions().values()))
    told = {n for n in series(scraped(metrics)) if n.startswith("factd_")}
    parts = ("_created", "_count", "_sum")
    assert {n for n in told if not n.endswith(parts)} - asked == set()


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    sections = set(re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE))
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert ROOT / page == RUNBOOK
        assert (rule["alert"] in sections, anchor) == (True, rule["alert"].lower())
    alerts = {rule["alert"] for rule in rules()}
    assert {name for name in sections if name.startswith("Factd")} == alerts


def test_every_alert_fires_in_one_test_of_the_rules() -> None:
    fired: set[str] = set()
    for name in TESTS:
        for case in yaml.safe_load((PROMETHEUS / name).read_text())["tests"]:
            for check in case.get("promql_expr_test", ()):
                fired |= set(re.findall(r'alertname="(\w+)"', str(check["exp_samples"])))
            for before in case.get("promql_expr_test", ())[:1]:
                assert before["exp_samples"] == [], case["name"]
    assert fired == {rule["alert"] for rule in rules()}


def promtool(*words: str, text: str | None = None) -> str:
    """What it says where all is well; the test fails where it is not."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool is installed (Debian: prometheus)")
    done = subprocess.run(
        ["promtool", *words],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=PROMETHEUS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_promtool_accepts_the_series(metrics: Metrics) -> None:
    promtool("check", "metrics", text=exposition(metrics.registry, "")[0].decode())


@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus.compose.yml"])
def test_promtool_accepts_the_configuration_with_its_rules(name: str) -> None:
    promtool("check", "config", name)


@pytest.mark.parametrize("name", TESTS)
def test_the_rules_pass_their_tests(name: str) -> None:
    assert promtool("test", "rules", name).split()[-1] == "SUCCESS"


def test_the_dashboard_is_laid_out_without_gaps_or_overlaps() -> None:
    found = dashboard()
    assert (found["uid"], found["schemaVersion"] >= 39) == ("factd", True)
    ids = [panel["id"] for panel in found["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert all(0 <= x < 24 for x, _ in taken)
    assert len(taken) == 24 * (max(y for _, y in taken) + 1)


def test_every_panel_asks_the_chosen_prometheus_and_names_its_unit() -> None:
    for panel in dashboard()["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
    variables = {v["name"]: v["type"] for v in dashboard()["templating"]["list"]}
    assert variables == {"datasource": "datasource", "job": "query", "language": "query"}
