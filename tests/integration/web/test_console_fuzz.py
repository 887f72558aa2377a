"""schemathesis asks the JSON API all that its OpenAPI allows, and more: no answer is a 5xx, each is of its schema."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from prometheus_client import CollectorRegistry
from schemathesis.checks import not_a_server_error, response_schema_conformance

from factd.daemon.app import App, build
from factd.daemon.configuration import load_config
from factd.daemon.ingestion.pull import ingest_file
from factd.daemon.web.api import api
from factd.daemon.web.app import console
from factd.daemon.web.auth.accounts import digest, new_token
from factd.daemon.web.http import DaemonHttp
from factd.store import operations, queries
from factd.store.model.operations import Role
from support.databases import fresh_database
from support.world import NOW, claim, jsonl

EXAMPLES = 8  # of each call, beside those that cover its parameters
MANY = 300
FEW = "[console]\nlogin_attempts = 1\n"  # a password costs a slow hash
CHECKS = [not_a_server_error, response_schema_conformance]


def filled(folder: Path, backend: str) -> tuple[App, str]:
    """A store with facts, candidates and releases in every state, and a token that may do anything."""
    path = folder / "factd.toml"
    path.write_text(
        f'[model]\npath = "model"\n[store]\nurl = "{fresh_database(backend, folder)}"\n{FEW}'
    )
    app, secret = build(load_config(path)), new_token()
    ingest_file(
        app.ledger, app.prompts, jsonl(folder / "x.jsonl", [claim("HR", "EUR"), claim("FR", "EUR")])
    )
    with app.ledger.begin() as session:
        queries.releases.ensure_release_zero(session, now=NOW)
        for number in range(3):
            made = queries.releases.create_candidate(
                session, batch_id=f"{number}", fact_ids=["0000000000000000"], now=NOW
            )
            queries.releases.create_release(
                session,
                candidate_id=made.id,
                delta_id=None,
                fact_ids=["0000000000000000"],
                who="test",
                why="edit",
                now=NOW,
            )
        operations.accounts.add_token(
            session, "test", Role.OPERATE, digest(secret), now=app.ledger.now()
        )
    return app, secret


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, backend: str) -> Iterator[tuple[str, str]]:
    app, secret = filled(tmp_path_factory.mktemp("fuzz"), backend)
    registry = CollectorRegistry()
    health = DaemonHttp(
        "127.0.0.1", 0, registry, live=str, ready=str, hooks={}, console=console(app)
    )
    health.start()
    yield f"http://127.0.0.1:{health.port}", secret
    health.stop()
    app.ledger.store.close()


def described() -> schemathesis.BaseSchema:
    """What the API says of itself."""
    site = FastAPI(title="factd", version="1")
    site.include_router(api)
    found: schemathesis.BaseSchema = schemathesis.openapi.from_dict(site.openapi())
    return found


schema = described()


def asked(case: schemathesis.Case[Any], place: tuple[str, str]) -> int:
    """The status of an answer that is what the API says of itself."""
    headers = {"Authorization": f"Bearer {place[1]}"}
    return int(case.call_and_validate(place[0], headers=headers, checks=CHECKS).status_code)


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@schema.parametrize()
@bounded(EXAMPLES)
def test_no_question_breaks_the_api(case: schemathesis.Case[Any], place: tuple[str, str]) -> None:
    assert asked(case, place) < 500


@pytest.mark.slow
@schema.parametrize()
@bounded(MANY)
def test_no_question_of_many_breaks_the_api(
    case: schemathesis.Case[Any], place: tuple[str, str]
) -> None:
    assert asked(case, place) < 500
