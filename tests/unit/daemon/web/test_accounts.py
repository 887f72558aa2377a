"""Who is let in: passwords, tokens and sessions, of which only hashes are kept; failed logins are few."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DataError
from typer.testing import CliRunner

from factd.daemon.cli.main import cli
from factd.daemon.config.tables import ConsoleTable
from factd.daemon.errors import Refused
from factd.daemon.web.auth.accounts import Door, digest, hashed, new_token
from factd.daemon.web.auth.login_throttle import SPAN_SECONDS, Attempts
from factd.daemon.web.errors import Forbidden, TooMany, Unknown
from factd.store import operations
from factd.store.database import migrate
from factd.store.database.session import Store, database_errors
from factd.store.errors import Unstorable
from factd.store.model.operations import Role
from support.world import NOW, Clock

PASSWORD = "correct horse battery"


class Counting(PasswordHasher):
    """A quick hash, and how often it was asked."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified = 0

    def verify(self, *given: Any) -> Literal[True]:
        self.verified += 1
        return super().verify(*given)


@pytest.fixture
def door(store: Store, clock: Clock) -> Door:
    hasher = Counting()
    secret = hashed(PASSWORD, hasher)
    with store.begin() as session:
        for name, role in (("ada", Role.OPERATE), ("vera", Role.VIEW)):
            operations.accounts.add_account(session, name, role, secret, now=NOW)
    return Door(store, ConsoleTable(login_attempts=3), clock, hasher)


def kept(store: Store) -> str:
    """Every secret column of the database."""
    with store.read() as session:
        rows = [
            *session.execute(text("SELECT secret FROM accounts")),
            *session.execute(text("SELECT digest FROM sessions")),
            *session.execute(text("SELECT digest FROM tokens")),
        ]
    return str(rows)


def test_a_password_opens_a_session_and_neither_is_kept(door: Door) -> None:
    cookie = door.login("ada", PASSWORD, "here")
    caller = door.of_cookie(cookie)
    assert caller is not None
    assert (caller.name, caller.role, len(caller.csrf)) == ("ada", Role.OPERATE, 43)
    assert cookie not in kept(door.store) and PASSWORD not in kept(door.store)
    assert "$argon2id$" in kept(door.store)


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "wrong"), ("nobody", PASSWORD), ("ada", ""), ("a\0da", PASSWORD)]
)
def test_a_wrong_name_and_a_wrong_password_are_told_the_same(
    door: Door, name: str, password: str
) -> None:
    with pytest.raises(Unknown, match="no account has this name and password"):
        door.login(name, password, "here")


def test_an_unknown_name_costs_a_hash_too(door: Door) -> None:
    assert isinstance(door.hasher, Counting)
    for number, name in enumerate(("ada", "nobody"), 1):
        with pytest.raises(Unknown):
            door.login(name, "wrong", "here")
        assert door.hasher.verified == number


def test_a_weak_hash_is_made_anew_at_the_next_login(door: Door) -> None:
    door.hasher = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)
    door.login("ada", PASSWORD, "here")
    with door.store.read() as session:
        account = operations.accounts.account(session, "ada")
    assert account is not None and not door.hasher.check_needs_rehash(account.secret)


def test_after_some_failures_nobody_is_asked_for_a_while(door: Door, clock: Clock) -> None:
    for _ in range(3):
        with pytest.raises(Unknown):
            door.login("ada", "wrong", "here")
    with pytest.raises(TooMany, match="try again in 15 minutes") as caught:
        door.login("ada", PASSWORD, "elsewhere")
    assert caught.value.retry_seconds > SPAN_SECONDS - 5
    assert door.login("vera", PASSWORD, "here")
    clock.on(seconds=SPAN_SECONDS + 1)
    assert door.login("ada", PASSWORD, "here")


def test_an_address_is_limited_over_all_names(door: Door) -> None:
    for number in range(15):
        with pytest.raises(Unknown):
            door.login(f"name {number}", "wrong", "here")
    with pytest.raises(TooMany):
        door.login("ada", PASSWORD, "here")
    assert door.login("ada", PASSWORD, "elsewhere")


def test_a_session_ends_when_it_is_idle_or_old(door: Door, clock: Clock) -> None:
    cookie = door.login("ada", PASSWORD, "here")
    clock.on(minutes=61)
    assert door.of_cookie(cookie) is None
    cookie = door.login("ada", PASSWORD, "here")
    for _ in range(13):
        clock.on(minutes=55)
        caller = door.of_cookie(cookie)
        assert caller is not None and caller.stale is not None
        caller.stale()
    clock.on(minutes=10)
    assert door.of_cookie(cookie) is None


def test_a_login_ends_the_session_before_it(door: Door) -> None:
    first = door.login("ada", PASSWORD, "here")
    second = door.login("ada", PASSWORD, "here", before=first)
    assert door.of_cookie(first) is None and door.of_cookie(second) is not None
    door.logout(second)
    assert door.of_cookie(second) is None


def test_who_is_disabled_is_out_at_once(door: Door) -> None:
    cookie = door.login("ada", PASSWORD, "here")
    with door.store.begin() as session:
        operations.accounts.change_account(session, "ada", disabled=True)
    assert door.of_cookie(cookie) is None
    with pytest.raises(Unknown):
        door.login("ada", PASSWORD, "here")


def test_a_token_is_good_until_it_expires_or_is_revoked(door: Door, clock: Clock) -> None:
    secrets = [new_token(), new_token()]
    with door.store.begin() as session:
        for secret in secrets:
            lasts = timedelta(days=1)
            made = operations.accounts.add_token(
                session, "ci", Role.VIEW, digest(secret), now=NOW, lasts=lasts
            )
        operations.accounts.revoke_token(session, made.id)
    caller = door.of_token(secrets[0])
    assert caller is not None and caller.stale is not None
    with pytest.raises(Forbidden, match="token ci may look only"):
        caller.may_operate()
    caller.stale()
    again = door.of_token(secrets[0])
    assert again is not None and again.stale is None
    assert door.of_token(secrets[1]) is None and door.of_token("factd_") is None
    assert secrets[0] not in kept(door.store)
    clock.on(days=1)
    assert door.of_token(secrets[0]) is None


@pytest.mark.parametrize("password", ["", "short", "x" * 201])
def test_a_password_has_a_length(password: str) -> None:
    with pytest.raises(Refused, match="12 to 200 characters"):
        hashed(password)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 100)), max_size=60))
def test_attempts_are_remembered_in_bounded_memory(tries: list[tuple[str, float]]) -> None:
    found = Attempts(2, remembered=3)
    for key, more in tries:
        found.note(key, now=more)
    assert len(found._failed) <= 3
    assert all(len(times) <= 2 for times in found._failed.values())


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Any]:
    config = tmp_path / "factd.toml"
    config.write_text('[model]\npath = "model"\n')
    migrate.upgrade(f"sqlite:///{tmp_path / 'state' / 'factd.sqlite'}")
    (tmp_path / "password").write_text(f"{PASSWORD}\n")

    def invoke(*words: str) -> Any:
        return CliRunner().invoke(cli, ["--config", str(config), *words])

    yield invoke


def test_accounts_are_kept_from_the_command_line(run: Any, tmp_path: Path) -> None:
    file = ("--password-file", str(tmp_path / "password"))
    assert "ada" in run("users", "add", "ada", "--role", "operate", *file).stdout
    again = run("users", "add", "ada", "--role", "view", *file)
    assert (again.exit_code, again.stderr) == (
        1,
        "factd: there is a 'ada' already; `factd users password ada`\n",
    )
    assert "disabled" in run("users", "disable", "ada").stdout
    assert '"disabled": true' in run("users", "list", "--json").stdout
    assert "disabled" not in run("users", "enable", "ada").stdout
    assert run("users", "password", "ada", *file).exit_code == 0
    assert "no account 'eve'" in run("users", "disable", "eve").stderr
    assert PASSWORD not in run("users", "list", "--json").stdout


def test_a_token_is_shown_once(run: Any) -> None:
    secret = run("tokens", "add", "ci", "--role", "view", "--days", "30").stdout.splitlines()[-1]
    assert secret.startswith("factd_") and len(secret) == 49
    listed = run("tokens", "list", "--json").stdout
    assert secret not in listed and digest(secret) not in listed
    assert "revoked" in run("tokens", "revoke", "1").stdout
    assert "no token 7" in run("tokens", "revoke", "7").stderr


def test_what_a_database_does_not_take_is_one_sentence() -> None:
    with pytest.raises(Unstorable, match="cannot store this value"), database_errors():
        raise DataError("INSERT", {}, ValueError("NUL"))
