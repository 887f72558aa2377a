"""Each state change is one log line with its bound ids, for programs or for people.

No line holds a secret.
"""

import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from factd.daemon.log import bound, carried, configure, log


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Any:
    configure(as_json=True)
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    configure()


def test_what_is_bound_is_on_the_lines_within_and_on_no_other(lines: Any) -> None:
    with bound(run=7, job="cycle"), bound(batch="0123456789abcdef", candidate=None):
        log.info("within")
    log.info("after")
    within, after = lines()
    assert (within["run"], within["job"], within["batch"]) == (7, "cycle", "0123456789ab")
    assert "candidate" not in within
    assert not {"run", "job", "batch"} & set(after)


def test_what_is_bound_goes_with_work_into_other_threads(lines: Any) -> None:
    def told(name: str) -> None:
        with bound(source=name):
            log.info("pulled")

    with ThreadPoolExecutor(max_workers=4) as pool, bound(run=7):
        list(pool.map(carried(told), "abcdefgh"))
        list(pool.map(told, "i"))
    found = lines()
    assert sorted(line["source"] for line in found if line.get("run") == 7) == list("abcdefgh")
    assert [line["source"] for line in found if "run" not in line] == ["i"]


@pytest.mark.parametrize("as_json", [True, False])
def test_no_line_holds_a_secret(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    configure(as_json=as_json)
    url = "postgresql://factd:hunter2@db/factd?sslpassword=hunter2"
    log.info(
        "started with hunter2-free words",
        url=url,
        more={"dsn": [url], "password": "hunter2"},
        token="hunter2",
        error=ValueError(f"no answer from {url}"),
        header="Authorization: Bearer hunter2hunter2",
        key="whsec_aHVudGVyMmh1bnRlcjI=",
        tokens=12,
    )
    configure()
    said = capsys.readouterr().err
    assert "hunter2" not in said.replace("hunter2-free", "")
    assert "aHVudGVy" not in said
    assert "postgresql://factd:***@db/factd" in said and "12" in said


def test_an_error_with_its_stack_is_one_line_without_its_secret(lines: Any) -> None:
    try:
        raise ValueError("no answer from http://u:hunter2@host/")
    except ValueError:
        log.error("failed", exc_info=True)
    (only,) = lines()
    assert "Traceback" in only["exception"] and "hunter2" not in only["exception"]


def test_what_other_libraries_log_is_of_the_same_form(lines: Any) -> None:
    logging.getLogger("apscheduler.executors").error("job %s raised", "pull")
    logging.getLogger("httpx").info("HTTP Request: GET http://x/?token=hunter2")
    (only,) = lines()
    assert (only["event"], only["library"]) == ("library says", "apscheduler.executors")
    assert (only["text"], only["level"]) == ("job pull raised", "error")


def test_lines_for_people_go_to_stderr_as_it_is_then(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    log.info("release live", release=3)
    assert "release=3" in capsys.readouterr().err
    assert sys.stderr is not None
