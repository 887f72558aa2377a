"""Every kind of server has a table and a section; what a webhook gets, what a command sees, and what is refused in a table."""

import json
import os
import re
import sys
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

import factd.daemon.servers
from factd.daemon.cli.main import cli
from factd.daemon.configuration import load_config
from factd.daemon.errors import BadConfig, HandoverFailed
from factd.daemon.network.client import HttpAnswer
from factd.daemon.plugins import kinds, servers
from factd.daemon.servers import Report, ServerSettings, Version, command, webhook
from factd.daemon.servers._completions import CompletionServerSettings
from factd.daemon.servers._http import reason
from factd.daemon.sources import webhook as receiver
from support.fakes.http import Fake, Reply
from support.fakes.serving_engines import FakeVllm
from support.paths import ROOT
from support.tiny_versions import MODEL, PROMPTS, TOKENS, answer
from support.world import NOW

VERSION = Version(
    number=7, folder="/published/versions/7", adapter="/published/a", digest="ab" * 32
)


KINDS = kinds(factd.daemon.servers)


def test_there_is_a_file_for_each_kind_and_nothing_else() -> None:
    assert KINDS == ["command", "hub", "mlflow", "sglang", "vllm", "webhook"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_table_and_connects(kind: str) -> None:
    module = import_module(f"factd.daemon.servers.{kind}")
    assert issubclass(module.Settings, ServerSettings)
    assert (
        module.Settings.model_config["frozen"] and module.Settings.model_config["extra"] == "forbid"
    )
    assert callable(module.connect)


def section(kind: str) -> str:
    """What the documentation says about a kind."""
    for path in sorted((ROOT / "docs" / "how-to" / "publish").glob("servers.md")):
        for part in re.split(r"^#{2,4} ", path.read_text(), flags=re.MULTILINE):
            if part.startswith(f"`{kind}`"):
                return part
    return ""


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_a_kinds_table_is_documented(kind: str) -> None:
    fields: dict[str, Any] = import_module(f"factd.daemon.servers.{kind}").Settings.model_fields
    own = set(fields) - set(ServerSettings.model_fields)
    missing = [key for key in sorted(own) if f"| `{key}` |" not in section(kind)]
    assert own and missing == []


def test_every_common_key_is_documented_once() -> None:
    text = "".join(
        path.read_text() for path in (ROOT / "docs" / "how-to" / "publish").glob("servers.md")
    )
    assert [key for key in ServerSettings.model_fields if f"| `{key}` |" not in text] == []


@pytest.mark.parametrize("kind", ["vllm", "sglang", "webhook", "command", "hub", "mlflow"])
def test_the_example_configuration_of_a_kind_is_one(kind: str, tmp_path: Path) -> None:
    """What deploy/factd.example.toml has as a comment is read when it is none."""
    text = (ROOT / "deploy" / "factd.example.toml").read_text()
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith(f'kind = "{kind}"')) - 1
    table = [lines[start]]
    for line in lines[start + 1 :]:
        if not re.match(r"\w+ = ", line):
            break
        table.append(line)
    found = one("\n".join(table), tmp_path)
    assert found.settings.kind == kind


def one(table: str, folder: Path) -> Any:
    path = folder / "factd.toml"
    path.write_text(f'[model]\npath = "model"\n[publish.adapter]\n{table}\n')
    (found,) = servers(load_config(path)).values()
    return found


VLLM = '[servers.vllm]\nurl = "http://a"\n'
HOOK = '[servers.webhook]\nurl = "http://a"\nsecret_file = "s"\n'
ASKED = 'completions_url = "http://a/v1/completions"\nmodel = "m"\n'


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (
            "[servers.x]\n",
            "servers.x: there is no kind 'x'; choose one of command, hub, mlflow, sglang, vllm",
        ),
        ("[servers.vllm]\n", "servers.vllm.url"),
        ('[servers.vllm]\nurl = "ftp://a"\n', "servers.vllm.url"),
        ('[servers.vllm]\nurl = "http://a:1/v1/"\n', "without /v1"),
        (VLLM + 'mode = "both"\n', "servers.vllm.mode"),
        (VLLM + 'mode = "reload"\n', "give model, the name that users ask for"),
        (VLLM + 'model = "m"\n', "adapters have name"),
        (VLLM + 'name = "factd-7-abababababab"\n', "is a version's name"),
        (VLLM + 'name = ""\n', "servers.vllm.name"),
        (VLLM + "load_seconds = 0\n", "servers.vllm.load_seconds"),
        (VLLM + "weights = 1\n", "servers.vllm.weights: Extra inputs"),
        ('[servers.sglang]\nurl = "http://a"\n', "servers.sglang.model"),
        (
            '[servers.sglang]\nurl = "http://a"\nmodel = "a:b"\nmode = "adapter"\n',
            "separates model and adapter by a colon",
        ),
        (HOOK, "nothing notices wrong weights"),
        (HOOK + "unasked = true\n" + ASKED, "nothing notices wrong weights"),
        (HOOK + 'completions_url = "http://a"\n', "give completions_url and model together"),
        (HOOK + 'unasked = true\nmodel = "m"\n', "give completions_url and model together"),
        (HOOK + 'unasked = true\nurl_file = "u"\n', "give exactly one of url and url_file"),
        ('[servers.webhook]\nurl = "http://a"\nunasked = true\n', "servers.webhook.secret_file"),
        ("[servers.command]\ncommand = []\nunasked = true\n", "servers.command.command"),
        ('[servers.command]\ncommand = "ls"\nunasked = true\n', "servers.command.command"),
        ('[servers.command]\ncommand = ["ls"]\n', "nothing notices wrong weights"),
        ('[servers.hub]\nrepository = "x"\ntoken_file = "t"\n', "servers.hub.repository"),
        ('[servers.hub]\nrepository = "a/b"\n', "servers.hub.token_file"),
        ('[servers.hub]\nrepository = "a/b"\ntoken_file = "t"\nroot = "/x"\n', "leave root out"),
        ('[servers.mlflow]\nregistry = "x"\nmodel = "m"\n', "servers.mlflow.registry"),
        ('[servers.mlflow]\nregistry = "sqlite:///x"\nmodel = "m\'"\n', "servers.mlflow.model"),
    ],
)
def test_a_wrong_server_is_refused_with_its_key(table: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadConfig) as caught:
        one(table, tmp_path)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (VLLM + 'api_key_file = "none"\n', "none cannot be read"),
        ('[servers.sglang]\nurl = "http://a"\nmodel = "m"\nadmin_key_file = "none"\n', "cannot be"),
        (HOOK + "unasked = true\n", "cannot be read"),
        (HOOK.replace('"s"', '"secret"') + ASKED + 'api_key_file = "none"\n', "cannot be read"),
        ('[servers.command]\nunasked = true\ncommand = ["no-such-program"]\n', "is not a program"),
        ('[servers.hub]\nrepository = "a/b"\ntoken_file = "none"\n', "cannot be read"),
    ],
)
def test_a_file_that_is_not_there_is_found_before_anything_is_handed_over(
    table: str, what: str, tmp_path: Path, secret: Path
) -> None:
    found = one(table, tmp_path)
    with pytest.raises(BadConfig, match=what):
        found.settings.ready()


def test_config_check_looks_at_the_files_that_servers_need(tmp_path: Path) -> None:
    path = tmp_path / "factd.toml"
    model = f'[model]\npath = "{MODEL}"\n[method.memit]\nlayers = [1]\nsecond_moment_weight = 1\n'
    path.write_text(model + VLLM + 'api_key_file = "none"\n[publish.adapter]\n')
    done = CliRunner().invoke(cli, ["--config", str(path), "config", "check"])
    assert (done.exit_code, "none cannot be read" in done.stderr) == (1, True), done.stderr
    path.write_text(model + VLLM + "[publish.adapter]\n")
    assert CliRunner().invoke(cli, ["--config", str(path), "config", "check"]).exit_code == 0


MLFLOW = '[servers.m]\nkind = "mlflow"\nregistry = "sqlite:///x"\nmodel = "m"\n'
SGLANG = '[servers.s]\nkind = "sglang"\nurl = "http://a"\nmodel = "m"\n'


@pytest.mark.parametrize(
    "table", [VLLM, SGLANG + 'mode = "adapter"\n', MLFLOW + 'form = "adapter"\n']
)
def test_a_server_that_takes_adapters_needs_them_published(table: str, tmp_path: Path) -> None:
    path = tmp_path / "factd.toml"
    path.write_text(f'[model]\npath = "model"\n{table}')
    with pytest.raises(BadConfig, match=r"takes adapters; add a table \[publish.adapter\]"):
        servers(load_config(path))
    path.write_text(f'[model]\npath = "model"\n{SGLANG}{MLFLOW}')
    assert set(servers(load_config(path))) == {"m", "s"}


def hook(fake: Fake, secret: Path, **more: Any) -> webhook.Webhook:
    held: dict[str, Any] = {
        "kind": "webhook",
        "url": f"{fake.url}/T0P/secret-path",
        "secret_file": secret,
    }
    held |= {"unasked": True, "load_seconds": 2.0, "answer_seconds": 2.0}
    return webhook.connect(webhook.Settings.model_validate(held | more))


def test_a_webhooks_signature_is_verified_by_our_own_receiver(fake: Fake, secret: Path) -> None:
    server = hook(fake, secret)
    server.now = lambda: NOW
    server.load(VERSION)
    server.close()
    (asked,) = fake.asked
    table = receiver.Settings(kind="webhook", secret_file=secret)
    taken = receiver.receive(table, asked.headers, asked.body, now=NOW)
    assert taken.status == 202
    assert receiver.receive(table, asked.headers, asked.body + b" ", now=NOW).status == 401
    said = json.loads(asked.body)
    assert (said["type"], said["timestamp"]) == ("factd.handover", NOW.isoformat())
    assert said["data"] == {
        "release": 7,
        "version": "factd-7-abababababab",
        "folder": "/published/versions/7",
        "adapter": "/published/a",
        "digest": "ab" * 32,
    }


def test_every_post_has_an_id_of_its_own(fake: Fake, secret: Path) -> None:
    """A version that is handed over again, after another one was taken back, is not dropped as known."""
    server = hook(fake, secret)
    for _ in range(3):
        server.load(VERSION)
    server.close()
    ids = [asked.headers["webhook-id"] for asked in fake.asked]
    assert len(set(ids)) == 3
    assert all(re.fullmatch(r"factd_[0-9a-f]{32}", id_) for id_ in ids)


@pytest.mark.parametrize("status", [301, 400, 404, 410, 500, 503])
def test_only_a_2xx_means_that_it_is_served(
    status: int, fake: Fake, replies: list[Reply], secret: Path
) -> None:
    replies[0] = Reply(
        status=status,
        body=b'{"detail": "no space left"}',
        headers={"Location": f"{fake.url}/else", "Retry-After": "90"},
    )
    with pytest.raises(HandoverFailed, match=f"answered {status}: no space left") as caught:
        hook(fake, secret).load(VERSION)
    assert len(fake.asked) == 1 and caught.value.retry_seconds == 90
    assert "secret-path" not in str(caught.value)


def test_a_receiver_that_hangs_is_left_after_its_time(
    fake: Fake, replies: list[Reply], secret: Path
) -> None:
    replies[0] = Reply(parts=[b"."] * 100, pause_seconds=0.05)
    with pytest.raises(HandoverFailed, match=r"too long|timed out"):
        hook(fake, secret, load_seconds=0.3, answer_seconds=0.3).load(VERSION)


def test_a_url_may_lie_in_a_file(fake: Fake, secret: Path, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{fake.url}/from-a-file\n")
    hook(fake, secret, url="", url_file=tmp_path / "url").load(VERSION)
    assert fake.asked[0].path == "/from-a-file"


def test_what_a_receiver_serves_is_asked_elsewhere(fake: Fake, secret: Path) -> None:
    with FakeVllm(MODEL) as engine:
        url = f"{engine.url}/v1/completions"
        server = hook(fake, secret, unasked=False, completions_url=url, model="base")
        assert server.asks and not server.stages
        server.load(VERSION)
        assert server.report() == Report(serving=None)
        found = server.complete(PROMPTS[0], tokens=TOKENS)
        assert found.text == answer(str(MODEL), PROMPTS[0])[0] and len(found.logprobs) == TOKENS
        server.drop(VERSION)
        server.close()


def test_who_is_not_asked_says_so(fake: Fake, secret: Path) -> None:
    server = hook(fake, secret)
    assert not server.asks
    with pytest.raises(HandoverFailed, match="has no completion API"):
        server.complete(PROMPTS[0], tokens=1)


def run(*command_: str, **more: Any) -> command.Command:
    held: dict[str, Any] = {"kind": "command", "command": command_, "unasked": True}
    return command.connect(command.Settings(**held | {"load_seconds": 20.0} | more))


def test_a_command_gets_the_version_and_little_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTD_STORE__URL", "postgresql://secret")
    monkeypatch.setenv("KUBECONFIG", "/etc/kube")
    out = tmp_path / "environment"
    run("/bin/sh", "-c", f"env > {out}", keep=("PATH", "KUBECONFIG")).load(VERSION)
    found = dict(line.split("=", 1) for line in out.read_text().splitlines())
    mine = {key: found.pop(key) for key in list(found) if key.startswith("FACTD_")}
    assert mine == {
        "FACTD_RELEASE": "7",
        "FACTD_VERSION": "factd-7-abababababab",
        "FACTD_FOLDER": "/published/versions/7",
        "FACTD_ADAPTER": "/published/a",
        "FACTD_DIGEST": "ab" * 32,
    }
    assert set(found) <= {"PATH", "KUBECONFIG", "PWD", "SHLVL", "_", "OLDPWD"}
    assert found["KUBECONFIG"] == "/etc/kube"


def test_no_shell_reads_a_commands_arguments(tmp_path: Path) -> None:
    odd = '$(touch x); `id` && "quoted"'
    script = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
    run(sys.executable, "-c", script, str(tmp_path / "said"), odd).load(VERSION)
    assert (tmp_path / "said").read_text() == odd


def test_a_command_that_fails_is_quoted_with_its_last_line() -> None:
    script = "echo first >&2; printf 'no such \\033[31mnode\\n\\n' >&2; exit 3"
    with pytest.raises(
        HandoverFailed, match=r"^/bin/sh failed with exit code 3: no such \?\[31mnode$"
    ):
        run("/bin/sh", "-c", script).load(VERSION)
    with pytest.raises(HandoverFailed, match=r"failed with exit code 1$"):
        run("/bin/sh", "-c", "exit 1").load(VERSION)


def test_a_command_that_says_a_lot_is_quoted_with_little() -> None:
    script = "import sys; sys.stderr.write('x' * 1_000_000 + '\\n' + 'y' * 5000); sys.exit(1)"
    with pytest.raises(HandoverFailed) as caught:
        run(sys.executable, "-c", script).load(VERSION)
    assert str(caught.value).endswith("y" * command.MOST) and len(str(caught.value)) < 500


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"(trap '' TERM; exec sleep 60) & echo $! > {pid}; wait"
    with pytest.raises(HandoverFailed, match=r"took longer than load_seconds = 0\.5"):
        run("/bin/sh", "-c", script, load_seconds=0.5).load(VERSION)
    child = int(pid.read_text())
    until = time.monotonic() + 10
    while alive(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert not alive(child)


def alive(pid: int) -> bool:
    """A process runs (one that ended and was not waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[-1][0] not in "ZX"
    except OSError:
        return False


def test_a_command_may_leave_a_process_running(tmp_path: Path) -> None:
    """Who restarts a server by hand; what it leaves holds its stderr open."""
    pid = tmp_path / "pid"
    started = time.monotonic()
    run("/bin/sh", "-c", f"sleep 30 & echo $! > {pid}").load(VERSION)
    assert time.monotonic() - started < 20
    child = int(pid.read_text())
    assert alive(child)
    os.kill(child, 9)


def test_a_command_that_cannot_be_started_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "no-program").write_text("x")
    with pytest.raises(HandoverFailed, match="cannot be started"):
        run(str(tmp_path / "no-program")).load(VERSION)


def said(body: bytes) -> str:
    return reason(HttpAnswer(status=500, headers={}, body=body, url="", links={}))


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b'{"error": {"message": "no\\n room", "type": "x"}}', "no room"),
        (b'{"object": "error", "message": "m"}', "m"),
        (b'{"detail": [{"loc": ["body"], "msg": "Field required"}]}', "Field required"),
        (b'{"success": false, "error_message": "loaded"}', "loaded"),
        (b"plain text", "plain text"),
        (b"", ""),
        (b"{}", ""),
        (b"[]", ""),
        (b"\xff\x1b[31m", "�?[31m"),
        (b"[" * 100_000, "[" * 200 + "…"),
        (b"x" * 1000, "x" * 200 + "…"),
    ],
)
def test_a_servers_reason_is_one_short_line(body: bytes, line: str) -> None:
    assert said(body) == line


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"text": 3}]}', b"<html>", b"\xff"],
)
def test_an_answer_that_is_no_completion_is_a_failure(
    body: bytes, fake: Fake, replies: list[Reply], secret: Path
) -> None:
    replies[0] = Reply(body=body)
    server = hook(fake, secret, unasked=False, completions_url=fake.url, model="m")
    with pytest.raises(HandoverFailed, match="did not answer with a completion"):
        server.complete("a", tokens=1)


def test_a_server_may_tell_no_log_probabilities(
    fake: Fake, replies: list[Reply], secret: Path
) -> None:
    replies[0] = Reply(body=b'{"choices": [{"text": "b", "logprobs": null}]}')
    server = hook(fake, secret, unasked=False, completions_url=fake.url, model="m")
    assert server.complete("a", tokens=1).logprobs == ()
    asked = json.loads(fake.asked[0].body)
    assert (asked["temperature"], asked["max_tokens"], asked["prompt"]) == (0, 1, "a")
    assert fake.asked[0].headers["connection"] == "close"


def test_the_clock_of_a_webhook_is_utc(secret: Path, fake: Fake) -> None:
    server = hook(fake, secret)
    assert abs((server.now() - datetime.now(UTC)).total_seconds()) < 60
    assert isinstance(server.settings, BaseModel) and isinstance(
        server.settings, CompletionServerSettings
    )
