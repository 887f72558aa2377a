"""Accounts, tokens and sessions: only hashes are stored, and failed logins are limited."""

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
from factd.daemon.web.auth.accounts import Authenticator, digest, hashed, new_token
from factd.daemon.web.auth.login_throttle import SPAN_SECONDS, LoginThrottle
from factd.daemon.web.errors import Forbidden, TooManyLogins, Unauthenticated
from factd.store import operations
from factd.store.database import migrate
from factd.store.database.session import Store, database_errors
from factd.store.errors import Unstorable
from factd.store.model.operations import Role
from support.world import NOW, Clock

PASSWORD = "correct horse battery"


class Counting(PasswordHasher):
    """A quick hash that counts its verifications."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified = 0

    def verify(self, *given: Any) -> Literal[True]:
        self.verified += 1
        return super().verify(*given)


@pytest.fixture
def authenticator(store: Store, clock: Clock) -> Authenticator:
    hasher = Counting()
    secret = hashed(PASSWORD, hasher)
    with store.begin() as session:
        for name, role in (("ada", Role.OPERATE), ("vera", Role.VIEW)):
            operations.accounts.add_account(session, name, role, secret, now=NOW)
    return Authenticator(store, ConsoleTable(login_attempts=3), clock, hasher)


def kept(store: Store) -> str:
    """Every secret column of the database."""
    with store.read() as session:
        rows = [
            *session.execute(text("SELECT secret FROM accounts")),
            *session.execute(text("SELECT digest FROM sessions")),
            *session.execute(text("SELECT digest FROM tokens")),
        ]
    return str(rows)


def test_a_password_opens_a_session_and_neither_is_kept(authenticator: Authenticator) -> None:
    cookie = authenticator.login("ada", PASSWORD, "here")
    caller = authenticator.of_cookie(cookie)
    assert caller is not None
    assert (caller.name, caller.role, len(caller.csrf)) == ("ada", Role.OPERATE, 43)
    assert cookie not in kept(authenticator.store) and PASSWORD not in kept(authenticator.store)
    assert "$argon2id$" in kept(authenticator.store)


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "wrong"), ("nobody", PASSWORD), ("ada", ""), ("a\0da", PASSWORD)]
)
def test_a_wrong_name_and_a_wrong_password_get_the_same_answer(
    authenticator: Authenticator, name: str, password: str
) -> None:
    with pytest.raises(Unauthenticated, match="no account has this name and password"):
        authenticator.login(name, password, "here")


def test_an_unknown_name_takes_as_long_as_a_wrong_password(authenticator: Authenticator) -> None:
    assert isinstance(authenticator.hasher, Counting)
    for number, name in enumerate(("ada", "nobody"), 1):
        with pytest.raises(Unauthenticated):
            authenticator.login(name, "wrong", "here")
        assert authenticator.hasher.verified == number


def test_a_weak_hash_is_replaced_at_the_next_login(authenticator: Authenticator) -> None:
    authenticator.hasher = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)
    authenticator.login("ada", PASSWORD, "here")
    with authenticator.store.read() as session:
        account = operations.accounts.account(session, "ada")
    assert account is not None and not authenticator.hasher.check_needs_rehash(account.secret)


def test_after_some_failures_a_login_has_to_wait(
    authenticator: Authenticator, clock: Clock
) -> None:
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            authenticator.login("ada", "wrong", "here")
    with pytest.raises(TooManyLogins, match="try again in 15 minutes") as caught:
        authenticator.login("ada", PASSWORD, "elsewhere")
    assert caught.value.retry_seconds > SPAN_SECONDS - 5
    assert authenticator.login("vera", PASSWORD, "here")
    clock.advance(seconds=SPAN_SECONDS + 1)
    assert authenticator.login("ada", PASSWORD, "here")


def test_an_address_is_limited_over_all_names(authenticator: Authenticator) -> None:
    for number in range(15):
        with pytest.raises(Unauthenticated):
            authenticator.login(f"name {number}", "wrong", "here")
    with pytest.raises(TooManyLogins):
        authenticator.login("ada", PASSWORD, "here")
    assert authenticator.login("ada", PASSWORD, "elsewhere")


def test_a_session_ends_when_it_is_idle_or_old(authenticator: Authenticator, clock: Clock) -> None:
    cookie = authenticator.login("ada", PASSWORD, "here")
    clock.advance(minutes=61)
    assert authenticator.of_cookie(cookie) is None
    cookie = authenticator.login("ada", PASSWORD, "here")
    for _ in range(13):
        clock.advance(minutes=55)
        caller = authenticator.of_cookie(cookie)
        assert caller is not None and caller.note_seen is not None
        caller.note_seen()
    clock.advance(minutes=10)
    assert authenticator.of_cookie(cookie) is None


def test_a_login_ends_the_session_before_it(authenticator: Authenticator) -> None:
    first = authenticator.login("ada", PASSWORD, "here")
    second = authenticator.login("ada", PASSWORD, "here", before=first)
    assert authenticator.of_cookie(first) is None and authenticator.of_cookie(second) is not None
    authenticator.logout(second)
    assert authenticator.of_cookie(second) is None


def test_a_disabled_account_is_logged_out_at_once(authenticator: Authenticator) -> None:
    cookie = authenticator.login("ada", PASSWORD, "here")
    with authenticator.store.begin() as session:
        operations.accounts.change_account(session, "ada", disabled=True)
    assert authenticator.of_cookie(cookie) is None
    with pytest.raises(Unauthenticated):
        authenticator.login("ada", PASSWORD, "here")


def test_a_token_is_good_until_it_expires_or_is_revoked(
    authenticator: Authenticator, clock: Clock
) -> None:
    secrets = [new_token(), new_token()]
    with authenticator.store.begin() as session:
        for secret in secrets:
            lasts = timedelta(days=1)
            made = operations.accounts.add_token(
                session, "ci", Role.VIEW, digest(secret), now=NOW, lasts=lasts
            )
        operations.accounts.revoke_token(session, made.id)
    caller = authenticator.of_token(secrets[0])
    assert caller is not None and caller.note_seen is not None
    with pytest.raises(Forbidden, match="token ci may only read"):
        caller.may_operate()
    caller.note_seen()
    again = authenticator.of_token(secrets[0])
    assert again is not None and again.note_seen is None
    assert authenticator.of_token(secrets[1]) is None and authenticator.of_token("factd_") is None
    assert secrets[0] not in kept(authenticator.store)
    clock.advance(days=1)
    assert authenticator.of_token(secrets[0]) is None


@pytest.mark.parametrize("password", ["", "short", "x" * 201])
def test_a_password_has_12_to_200_characters(password: str) -> None:
    with pytest.raises(Refused, match="12 to 200 characters"):
        hashed(password)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 100)), max_size=60))
def test_attempts_are_remembered_in_bounded_memory(tries: list[tuple[str, float]]) -> None:
    throttle = LoginThrottle(2, remembered=3)
    for key, more in tries:
        throttle.note(key, now=more)
    assert len(throttle._failed) <= 3
    assert all(len(times) <= 2 for times in throttle._failed.values())


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
        "factd: account 'ada' exists already; `factd users password ada` changes its password\n",
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


def test_a_value_that_the_database_refuses_is_one_sentence() -> None:
    with pytest.raises(Unstorable, match="cannot store this value"), database_errors():
        raise DataError("INSERT", {}, ValueError("NUL"))
