"""The whole cycle at the command line, on a tiny real model: from ingest to publish and roll back."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from factd.daemon.cli.main import cli
from factd.editor.files.folders import sha256_file
from support.paths import GOLDEN
from support.terminal import FEED, THINGS, Operator, update
from support.world import jsonl


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    yield Operator(tmp_path)


def test_the_cycle_from_ingest_to_rollback(operator: Operator) -> None:
    assert operator.ingest(FEED)["pending"] == 2
    planned = operator("plan")
    assert (planned["facts"], len(planned["added"]), planned["changed"]) == (2, 2, True)
    edited = operator("edit", "--publish")
    assert edited["accepted"] and edited["release"] == 1
    magnitude = next(
        m for m in edited["measurements"] if (m["check"], m["metric"]) == ("efficacy", "magnitude")
    )
    assert magnitude["value"] > magnitude["before"] + 0.1
    one = operator.published()
    assert operator("status")["published"] == 1
    assert operator("releases", "verify", "1")["ok"]
    assert "nothing to do" in operator.refused("edit")

    (fact,) = [
        f
        for f in operator("facts", "list", "--status", "active")
        if f["subject"]["id"] == "Zoeshost"
    ]
    assert [r["number"] for r in operator("facts", "explain", fact["id"])["releases"]] == [1]
    back = operator("rollback", "--fact", fact["id"], "--why", "wrong")
    assert back["release"] == 2
    assert operator("releases", "diff", "1", "2") == {"added": [], "removed": [fact["id"]]}
    history = operator("facts", "history", "Zoeshost", "T1")
    assert [(f["object"]["id"], f["status"]) for f in history] == [
        ("Germany", "withdrawn"),
        ("Egypt", "known"),
    ]

    swapped = operator("rollback", "--to", "1", "--why", "test")
    assert swapped["status"] == "live" and operator.published() == one
    assert swapped["seconds"] < 1.0
    assert "frozen by" in operator.refused("edit")
    assert operator("unfreeze")["was_frozen"]
    base = operator("rollback", "--to", "0")
    assert base["number"] == 0
    assert operator.published() == sha256_file(GOLDEN / "llama" / "model" / "model.safetensors")
    assert "no release 9" in operator.refused("rollback", "--to", "9")


def test_a_withdrawn_fact_leaves_the_bytes_of_never_having_been_ingested(tmp_path: Path) -> None:
    never = Operator(tmp_path / "never")
    never.ingest(FEED[1:])
    never("edit", "--publish")
    once = Operator(tmp_path / "once")
    once.ingest(FEED)
    once("edit", "--publish")
    assert once.published() != never.published()
    (fact,) = [
        f for f in once("facts", "list", "--status", "active") if f["subject"]["id"] == "Zoeshost"
    ]
    once("facts", "withdraw", fact["id"])
    once("edit", "--publish")
    assert once.published() == never.published()


def test_order_and_batches_make_no_difference_to_the_bytes(tmp_path: Path) -> None:
    whole = Operator(tmp_path / "whole")
    whole.ingest(FEED)
    whole("edit", "--publish")
    parts = Operator(tmp_path / "parts")
    for number, row in enumerate(reversed(FEED)):
        parts.ingest([row], f"{number}.jsonl")
        parts("edit", "--publish")
    assert parts("status")["live"]["number"] == 2
    assert parts.published() == whole.published()


def test_a_candidate_that_fails_is_rejected_and_not_proposed_again(tmp_path: Path) -> None:
    strict = Operator(tmp_path, edit=1.0)
    impossible = [update(thing, "Qwxyz Vbn Jkl Mnop Qrst", "2022-01-01") for thing in THINGS]
    text = (
        (strict.folder / "factd.toml")
        .read_text()
        .replace("v_num_grad_steps = 20", "v_num_grad_steps = 1")
    )
    (strict.folder / "factd.toml").write_text(text)
    strict.ingest(impossible)
    assert "efficacy generation in en is 0.000, the gate asks for at least 1" in strict.refused(
        "edit", "--publish"
    )
    assert "was rejected" in strict.refused("edit")
    status = strict("status")
    assert status["live"]["number"] == 0
    assert status["last_candidate"]["status"] == "rejected"


def test_a_release_is_measured_exported_and_written_again(operator: Operator) -> None:
    operator.ingest(FEED)
    operator("edit")
    assert operator("status")["live"]["number"] == 0
    assert operator("releases", "publish", "1")["status"] == "live"
    assert operator("check", "1")["delta_id"] == operator("releases", "show", "1")["delta_id"]
    assert operator("check")["delta_id"] is None
    out = operator.folder / "exported"
    operator("export", "1", "--out", str(out))
    assert sha256_file(out / "model.safetensors") == operator.published()
    assert operator.invoke("export", "1", "--out", "x", "--format", "gguf").exit_code == 2
    batch = operator("releases", "show", "1")["batch_id"]
    assert operator("rollback", "--batch", batch[:10])["release"] == 2
    assert operator.published() == sha256_file(GOLDEN / "llama" / "model" / "model.safetensors")
    model = operator.folder / "published" / "versions" / "1" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    assert "model.safetensors" in operator.refused("releases", "verify", "1")
    assert operator("stats", "build")["tokens"] >= 3000


def test_what_a_crash_left_half_done_is_finished_or_abandoned(operator: Operator) -> None:
    from factd.daemon.app import open_app, writing
    from factd.daemon.publishing import publish, version_files
    from factd.store import queries
    from factd.store.model.releases import CandidateStatus, ReleaseStatus

    operator.ingest(FEED)
    operator("edit")
    app = open_app(operator.folder / "factd.toml")
    with app.ledger.begin() as session:
        queries.releases.move_release(
            session, 1, ReleaseStatus.ACCEPTED, ReleaseStatus.PUBLISHING, now=app.ledger.now()
        )
        made = queries.releases.create_candidate(
            session, batch_id="x", fact_ids=[], now=app.ledger.now()
        )
    assert len(publish.recover(app.ledger, app.paths, app.versions, app.fleet)) == 2
    with app.ledger.begin() as session:
        assert queries.releases.candidate(session, made.id).status is CandidateStatus.ABANDONED
        assert queries.releases.release(session, 1).status is ReleaseStatus.ACCEPTED
        queries.releases.move_release(
            session, 1, ReleaseStatus.ACCEPTED, ReleaseStatus.PUBLISHING, now=app.ledger.now()
        )
    base = version_files.base_release(app.ledger)
    version_files.write_version(app.ledger, app.paths, app.versions, base)
    version_files.write_version(app.ledger, app.paths, app.versions, replace(base, number=1))
    app.versions.switch(1)
    assert publish.recover(app.ledger, app.paths, app.versions, app.fleet) == [
        "release 1 was published already and is live now"
    ]
    with writing(app):
        assert "changes releases now" in operator.refused("edit")
    app.ledger.store.close()


def test_the_daemon_does_the_cycle_by_itself_and_stops_on_sigterm(operator: Operator) -> None:
    config = operator.folder / "factd.toml"
    environment = {
        **os.environ,
        "FACTD_HTTP__PORT": "19464",
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, "-m", "factd.daemon.cli.main", "--config", str(config), "run"]
    with (operator.folder / "log").open("w") as log:
        daemon = subprocess.Popen(command, stderr=log, stdout=log, env=environment)
    try:
        inbox = operator.folder / "inbox"
        inbox.mkdir(exist_ok=True)
        jsonl(operator.folder / "x.part", [FEED[0], b"{broken"]).rename(inbox / "x.jsonl")
        deadline = time.monotonic() + 120
        while operator("status")["live"]["number"] != 1 and time.monotonic() < deadline:
            time.sleep(0.5)
        assert operator("status")["live"]["number"] == 1, (operator.folder / "log").read_text()
        assert get("/livez") == "ok\n"
        assert get("/readyz") == "ok\n"
        metrics = get("/metrics")
        assert "factd_live_release 1.0" in metrics
        assert 'factd_facts{status="active"} 1.0' in metrics
        assert 'factd_lines_total{outcome="bad"} 1.0' in metrics
        assert "line 2: broken JSON" in (inbox / "failed" / "x.jsonl.errors").read_text()
        daemon.terminate()
        assert daemon.wait(timeout=60) == 0
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()
    runs = operator("status")["runs"]
    assert {run["job"] for run in runs} <= {"pull", "cycle", "audit"}
    assert runs


def get(path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:19464{path}", timeout=10) as answer:
        return str(answer.read().decode())


def test_commands_that_need_no_model_import_no_torch(operator: Operator) -> None:
    config = str(operator.folder / "factd.toml")
    operator("rollback", "--to", "0")
    commands = [
        ["--help"],
        ["--config", config, "status"],
        ["--config", config, "rollback", "--to", "0"],
    ]
    code = f"""
import sys
from factd.daemon.cli.main import main
for words in {commands!r}:
    sys.argv = ["factd", *words]
    try:
        main()
    except SystemExit as end:
        print(end.code or 0, "torch" in sys.modules, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.splitlines() == ["0 False"] * len(commands), done.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["ingest", "nothing.jsonl"], "is not a file"),
        (["facts", "show", "zzz"], "no fact with id"),
        (["releases", "show", "9"], "no release 9"),
        (["rollback", "--batch", "zzz"], "no batch"),
        (["pull", "nothing"], "no source"),
        (
            ["apply", "nothing", "nothing", "--out", "x", "--method", "magic"],
            "no 'magic' in factd.editor.methods",
        ),
    ],
)
def test_what_is_refused_is_one_sentence(words: list[str], reason: str, operator: Operator) -> None:
    assert reason in operator.refused(*words)


def test_a_usage_error_is_exit_code_2(operator: Operator) -> None:
    assert operator.invoke("rollback").exit_code == 2
    assert operator.invoke("rollback", "--to", "0", "--batch", "x").exit_code == 2
    assert operator.invoke("nonsense").exit_code == 2


def test_an_operator_rules_over_values(operator: Operator) -> None:
    operator.ingest([*FEED, update("Zoeshost", "Chile", "2019-01-01")])
    old = next(
        f["id"]
        for f in operator("facts", "list")
        if f["object"]["id"] == "Chile" and f["subject"]["id"] == "Zoeshost"
    )
    assert "by validity" in operator("facts", "explain", old)["fact"]["reason"]
    (pinned,) = operator("facts", "pin", old, "--why", "checked")
    assert pinned["status"] == "pending"
    found = operator("facts", "explain", old)
    assert found["verdicts"]["Chile"]["why"] == "checked"
    assert sorted(v["status"] for v in found["versions"]) == ["pending", "superseded", "superseded"]
    assert operator("facts", "reject", old)[0]["status"] == "rejected"
    assert operator("facts", "lift", old)[0]["status"] == "superseded"
    assert operator("facts", "approve", old)[0]["status"] == "superseded"
    assert [f["id"] for f in operator("facts", "list", "--subject", "Zoeshost", "--source", "cli")]
    text = operator.invoke("facts", "explain", old).stdout
    for word in ("said by", "came by", "competes", "verdict", "releases"):
        assert word in text


def test_sources_and_relations_are_listed(operator: Operator) -> None:
    assert operator("pull") == [operator("pull", "drop_folder")]
    (source,) = operator("sources", "list")
    assert (source["name"], source["kind"], source["failures"]) == ("drop_folder", "drop_folder", 0)
    assert operator("sources", "unfreeze", "drop_folder") == {
        "source": "drop_folder",
        "was_frozen": None,
    }
    assert "no source 'x'" in operator.refused("sources", "unfreeze", "x")
    own = str(operator.folder / "relations")
    assert [r["id"] for r in operator("relations", "list", own)] == ["T1", "T2"]
    assert len(operator("relations", "list")) >= 45
    assert operator("relations", "check")["findings"] == []
    assert "wordings are wrong" in operator.refused("relations", "check", own)


def test_commands_for_people_print_lines(operator: Operator) -> None:
    operator.ingest(FEED)
    for words in (
        ["status"],
        ["plan"],
        ["facts", "list"],
        ["releases", "list"],
        ["config", "show"],
        ["config", "check"],
        ["db", "check"],
        ["db", "current"],
        ["version"],
        ["pull"],
        ["sources", "list"],
        ["relations", "list"],
        ["freeze", "--why", "night"],
        ["releases", "show", "0"],
    ):
        done = operator.invoke(*words)
        assert done.exit_code == 0, (words, done.stderr, done.exception)
        assert done.stdout.strip()


def test_init_writes_a_configuration_that_is_valid(tmp_path: Path) -> None:
    runner = CliRunner()
    model = str(GOLDEN / "llama" / "model")
    assert runner.invoke(cli, ["init", str(tmp_path / "new"), "--model", model]).exit_code == 0
    config = ["--config", str(tmp_path / "new" / "factd.toml")]
    assert runner.invoke(cli, [*config, "db", "upgrade"]).exit_code == 0
    checked = runner.invoke(cli, [*config, "config", "check"])
    assert checked.exit_code == 0, checked.stderr
    again = runner.invoke(cli, ["init", str(tmp_path / "new")])
    assert again.exit_code == 1 and "exists already" in again.stderr
