"""A real Prometheus on loopback scrapes a daemon's /metrics and evaluates the shipped rules."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from factd.daemon.runtime.metrics import metrics_of
from factd.daemon.web.http import DaemonHttp
from factd.store.model.releases import RunStatus
from support.paths import ROOT
from support.populated import populated_app
from support.postgres import _free_port as free_port

RULES = ROOT / "deploy" / "prometheus" / "factd.rules.yml"
SECONDS = 60


class Prometheus:
    """One server with its own folder. As root, it runs as an unprivileged user."""

    def __init__(self, folder: Path, target: int) -> None:
        self.port, self.folder = free_port(), folder
        config = {
            "global": {
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "evaluation_interval": "1s",
            },
            "rule_files": [str(folder / "factd.rules.yml")],
            "scrape_configs": [
                {"job_name": "factd", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
            ],
        }
        shutil.copyfile(RULES, folder / "factd.rules.yml")
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        user = "nobody" if os.getuid() == 0 else None
        if user:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, user)
        command = [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--enable-feature=exemplar-storage",
        ]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd=folder)

    def get(self, path: str, **query: str) -> Any:
        words = urllib.parse.urlencode(query)
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{words}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)["data"]

    def until(self, path: str, wanted: Any, **query: str) -> Any:
        """Ask until the answer fulfils `wanted`. Fails with the log after a while."""
        deadline, found = time.monotonic() + SECONDS, None
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                found = self.get(path, **query)
            except OSError:
                found = None
            if found is not None and wanted(found):
                return found
            time.sleep(0.2)
        raise AssertionError((found, (self.folder / "log").read_text()[-3000:]))

    def reaches(self, query: str, number: float) -> bool:
        """Wait until a query has this value: the first scrape of a busy machine may time out."""

        def wanted(data: Any) -> bool:
            return bool(data["result"]) and float(data["result"][0]["value"][1]) == number

        return bool(self.until("query", wanted, query=query))

    def value(self, query: str) -> float:
        found = self.until("query", lambda data: data["result"], query=query)
        return float(found["result"][0]["value"][1])

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=20)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a factd which was frozen five hours ago."""
    if shutil.which("prometheus") is None:
        pytest.skip("no Prometheus is installed (Debian: prometheus)")
    app = populated_app(tmp_path_factory.mktemp("factd"), datetime.now(UTC))
    metrics = metrics_of(app)
    metrics.run_ended("cycle", RunStatus.DONE, 41.7, 812)
    metrics.leading.set(1)
    health = DaemonHttp(
        "127.0.0.1", 0, metrics.registry, live=lambda: None, ready=lambda: None, hooks={}
    )
    health.start()
    folder = Path(
        tempfile.mkdtemp(prefix="factd-prometheus-")
    )  # another user must be able to enter it
    found = Prometheus(folder, health.port)
    try:
        yield found
    finally:
        found.stop()
        health.stop()
        app.ledger.store.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_it_scrapes_factd(prometheus: Prometheus) -> None:
    assert prometheus.reaches('up{job="factd"}', 1)
    assert prometheus.value("factd_live_release") == 1
    assert prometheus.value('factd_runs_total{job="factd",step="cycle",status="done"}') == 1
    asked = prometheus.get("targets")["activeTargets"][0]
    assert asked["lastError"] == ""


def test_it_evaluates_every_rule_without_an_error(prometheus: Prometheus) -> None:
    def evaluated(data: Any) -> bool:
        return all(
            rule["health"] != "unknown" for group in data["groups"] for rule in group["rules"]
        )

    groups = prometheus.until("rules", evaluated)["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    assert len(found) == RULES.read_text().count("- alert:")
    assert [rule["lastError"] for rule in found if rule["health"] != "ok"] == []


def test_what_stands_in_the_database_becomes_an_alert(prometheus: Prometheus) -> None:
    wanted = {"FactdFrozen", "FactdReleaseWaiting", "FactdAuditFailed", "FactdFactsLost"}

    def fires(data: Any) -> bool:
        return wanted <= {
            a["labels"]["alertname"] for a in data["alerts"] if a["state"] == "firing"
        }

    alerts = prometheus.until("alerts", fires)["alerts"]
    frozen = next(a for a in alerts if a["labels"]["alertname"] == "FactdFrozen")
    assert frozen["labels"]["severity"] == "warning"
    assert frozen["annotations"]["runbook_url"] == "docs/how-to/operate/runbook.md#factdfrozen"
    pending = {a["labels"]["alertname"] for a in alerts if a["state"] == "pending"}
    assert "FactdLiveBelowBound" in pending
    assert "FactdStoreUnreachable" not in pending | {a["labels"]["alertname"] for a in alerts}


def test_it_keeps_the_run_as_exemplar(prometheus: Prometheus) -> None:
    now = time.time()
    found = prometheus.until(
        "query_exemplars",
        bool,
        query="factd_step_seconds_bucket",
        start=str(now - 600),
        end=str(now + 600),
    )
    assert {"run": "812"} in [e["labels"] for series in found for e in series["exemplars"]]
