"""Logins by password, sessions by cookie, programs by token.

Only hashes of the secrets are stored.
"""

import hashlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from factd.daemon.config.tables import ConsoleTable
from factd.daemon.errors import Refused
from factd.daemon.log import log
from factd.daemon.web.auth.login_throttle import LoginThrottle
from factd.daemon.web.errors import Forbidden, TooManyLogins, Unauthenticated
from factd.store import operations, queries
from factd.store.database.session import Store
from factd.store.model.operations import Account, Role

SHORTEST, LONGEST = 12, 200  # characters of a password
LONGEST_NAME = 64  # characters of an account's name
SECRET_BYTES = 32
PREFIX = "factd_"  # of tokens, so that scanners for leaked secrets recognise one
PER_ADDRESS = 5  # an address may fail this many times as often as an account
SEEN_SECONDS = 60  # precision of the time at which a caller was last seen
HASHES_AT_ONCE = 2  # argon2id needs 64 MiB for each
HASHER = PasswordHasher()  # argon2id, RFC 9106's second choice


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The user or program that sends a request."""

    name: str
    role: Role
    csrf: str = ""  # of a session; a token has none
    note_seen: Callable[[], None] | None = None  # to be called after the answer is sent, if any

    def may_operate(self) -> None:
        """Raises: Forbidden: the role may only read."""
        if self.role is not Role.OPERATE:
            raise Forbidden(f"{self.name} may only read; the role operate is needed for this")


def hashed(password: str, hasher: PasswordHasher = HASHER) -> str:
    """A slow hash of a password. Raises: Refused: the password is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Refused(f"a password has {SHORTEST} to {LONGEST} characters")
    return hasher.hash(password)


def matches(secret: str, password: str, hasher: PasswordHasher = HASHER) -> bool:
    """The password is the one behind the stored hash."""
    try:
        return hasher.verify(secret, password)
    except (Argon2Error, InvalidHashError):
        return False


def digest(secret: str) -> str:
    """The stored hash of a cookie or token, which are 256 random bits: a fast hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_token() -> str:
    """A new secret for a program."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


class Authenticator:
    """Checks passwords, cookies and tokens, and limits failed logins."""

    def __init__(
        self,
        store: Store,
        table: ConsoleTable,
        now: Callable[[], datetime],
        hasher: PasswordHasher = HASHER,
    ) -> None:
        self.store, self.table, self.now, self.hasher = store, table, now, hasher
        self.by_account = LoginThrottle(table.login_attempts)
        self.by_address = LoginThrottle(table.login_attempts * PER_ADDRESS)
        self.counting_lock = threading.Lock()
        self.hashing_slots = threading.Semaphore(HASHES_AT_ONCE)
        # checked for an unknown name, so that it takes as long as a wrong password
        self.dummy_hash = hasher.hash(secrets.token_urlsafe())

    def login(self, name: str, password: str, address: str, *, before: str = "") -> str:
        """Log in and return the cookie of a new session. The session of the cookie `before` ends.

        Raises: Unauthenticated, TooManyLogins.
        """
        name, password = name[: LONGEST_NAME + 1], password[: LONGEST + 1]
        self._count(name, address)
        with self.store.read() as session:
            account = operations.accounts.account(session, name) if name.isprintable() else None
        with self.hashing_slots:
            right = matches(account.secret if account else self.dummy_hash, password, self.hasher)
        if account is None or not right or account.disabled:
            log.warning("login refused", address=address)
            raise Unauthenticated("no account has this name and password")
        with self.counting_lock:
            self.by_account.forget(name)
        return self._open_session(account, password, before)

    def _count(self, name: str, address: str) -> None:
        """Count an attempt before the password is checked, so that parallel attempts all count.

        Raises: TooManyLogins.
        """
        now = self.now().timestamp()
        with self.counting_lock:
            wait = max(
                self.by_account.wait_seconds(name, now=now),
                self.by_address.wait_seconds(address, now=now),
            )
            if not wait:
                self.by_account.note(name, now=now)
                self.by_address.note(address, now=now)
        if wait:
            sentence = f"too many logins failed; try again in {wait / 60:.0f} minutes"
            raise TooManyLogins(sentence, int(wait) + 1)

    def _open_session(self, account: Account, password: str, before: str) -> str:
        cookie, now = secrets.token_urlsafe(SECRET_BYTES), self.now()
        is_weak = self.hasher.check_needs_rehash(account.secret)
        stronger = hashed(password, self.hasher) if is_weak else ""
        with self.store.begin() as session:
            if stronger:
                operations.accounts.replace_password_hash(session, account.name, stronger)
            operations.accounts.close_sessions(
                session, [digest(before)], made_before=self._oldest()
            )
            operations.accounts.open_session(
                session,
                digest=digest(cookie),
                account=account.name,
                csrf=secrets.token_urlsafe(SECRET_BYTES),
                now=now,
            )
            queries.releases.log_action(session, who=account.name, what="login", why="", now=now)
        return cookie

    def logout(self, cookie: str) -> None:
        """End the session of a cookie."""
        with self.store.begin() as session:
            operations.accounts.close_sessions(
                session, [digest(cookie)], made_before=self._oldest()
            )

    def _oldest(self) -> datetime:
        return self.now() - timedelta(hours=self.table.session_hours)

    def of_cookie(self, cookie: str) -> Caller | None:
        """The caller with this cookie; None if the session has ended."""
        now, key = self.now(), digest(cookie)
        idle = now - timedelta(minutes=self.table.session_minutes)
        with self.store.read() as session:
            login_and_account = operations.accounts.valid_login(
                session, key, made_after=self._oldest(), seen_after=idle
            )
        if login_and_account is None:
            return None
        login, account = login_and_account

        def note_session() -> None:
            with self.store.begin() as session:
                operations.accounts.mark_session_seen(session, key, now=now)

        note_seen = note_session if _is_old(login.seen_at, now) else None
        return Caller(name=account.name, role=account.role, csrf=login.csrf, note_seen=note_seen)

    def of_token(self, secret: str) -> Caller | None:
        """The caller with this token; None if the token is not valid."""
        now = self.now()
        with self.store.read() as session:
            token = operations.accounts.valid_token(session, digest(secret), now=now)
        if token is None:
            return None
        id_ = token.id

        def note_token() -> None:
            with self.store.begin() as session:
                operations.accounts.mark_token_used(session, id_, now=now)

        note_seen = note_token if token.used_at is None or _is_old(token.used_at, now) else None
        return Caller(name=f"token {token.name}", role=token.role, note_seen=note_seen)


def _is_old(seen: datetime, now: datetime) -> bool:
    return now - seen > timedelta(seconds=SEEN_SECONDS)
