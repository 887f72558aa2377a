"""Who is at the door: passwords, tokens, cookies; what is kept of them is a hash."""

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
from factd.daemon.web.auth.login_throttle import Attempts
from factd.daemon.web.errors import Forbidden, TooMany, Unknown
from factd.store import operations, queries
from factd.store.database.session import Store
from factd.store.model.operations import Account, Role

SHORTEST, LONGEST = 12, 200  # characters of a password
NAME = 64  # characters of an account's name
SECRET_BYTES = 32
PREFIX = "factd_"  # of tokens, so that scanners for leaked secrets know one
PER_ADDRESS = 5  # times as many failures as an account may have
SEEN_SECONDS = 60  # how exactly it is known when somebody was last there
AT_ONCE = 2  # hashes, 64 MiB each
HASHER = PasswordHasher()  # argon2id, RFC 9106's second choice


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks."""

    name: str
    role: Role
    csrf: str = ""  # of a session; a token has none
    stale: Callable[[], None] | None = None  # to be called when the answer is out: it was there

    def may_operate(self) -> None:
        """Raises: Forbidden: the role is to look only."""
        if self.role is not Role.OPERATE:
            raise Forbidden(f"{self.name} may look only; the role operate is needed for this")


def hashed(password: str, hasher: PasswordHasher = HASHER) -> str:
    """A slow hash of a password. Raises: Refused: it is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Refused(f"a password has {SHORTEST} to {LONGEST} characters")
    return hasher.hash(password)


def fits(secret: str, password: str, hasher: PasswordHasher = HASHER) -> bool:
    """The password is the one that was hashed."""
    try:
        return hasher.verify(secret, password)
    except (Argon2Error, InvalidHashError):
        return False


def digest(secret: str) -> str:
    """What is kept of 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_token() -> str:
    """A secret for a program."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


class Door:
    """Lets in who proves to be somebody."""

    def __init__(
        self,
        store: Store,
        table: ConsoleTable,
        now: Callable[[], datetime],
        hasher: PasswordHasher = HASHER,
    ) -> None:
        self.store, self.table, self.now, self.hasher = store, table, now, hasher
        self.by_account = Attempts(table.login_attempts)
        self.by_address = Attempts(table.login_attempts * PER_ADDRESS)
        self.counting = threading.Lock()
        self.hashing = threading.Semaphore(AT_ONCE)
        self.nobody = hasher.hash(secrets.token_urlsafe())  # so that an unknown name takes as long

    def login(self, name: str, password: str, address: str, *, before: str = "") -> str:
        """The cookie of a new session; the one before ends. Raises: Unknown, TooMany."""
        name, password = name[: NAME + 1], password[: LONGEST + 1]
        self._count(name, address)
        with self.store.read() as session:
            found = operations.accounts.account(session, name) if name.isprintable() else None
        with self.hashing:
            right = fits(found.secret if found else self.nobody, password, self.hasher)
        if found is None or not right or found.disabled:
            log.warning("login refused", address=address)
            raise Unknown("no account has this name and password")
        with self.counting:
            self.by_account.forget(name)
        return self._opened(found, password, before)

    def _count(self, name: str, address: str) -> None:
        """An attempt counts before it is looked at, so that many at once count as many."""
        now = self.now().timestamp()
        with self.counting:
            wait = max(
                self.by_account.wait_seconds(name, now=now),
                self.by_address.wait_seconds(address, now=now),
            )
            if not wait:
                self.by_account.note(name, now=now)
                self.by_address.note(address, now=now)
        if wait:
            sentence = f"too many logins failed; try again in {wait / 60:.0f} minutes"
            raise TooMany(sentence, int(wait) + 1)

    def _opened(self, account: Account, password: str, before: str) -> str:
        cookie, now = secrets.token_urlsafe(SECRET_BYTES), self.now()
        weak = self.hasher.check_needs_rehash(account.secret)
        more = hashed(password, self.hasher) if weak else ""
        with self.store.begin() as session:
            if more:
                operations.accounts.replace_password_hash(session, account.name, more)
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
        """The session is over."""
        with self.store.begin() as session:
            operations.accounts.close_sessions(
                session, [digest(cookie)], made_before=self._oldest()
            )

    def _oldest(self) -> datetime:
        return self.now() - timedelta(hours=self.table.session_hours)

    def of_cookie(self, cookie: str) -> Caller | None:
        """Who has a cookie."""
        now, key = self.now(), digest(cookie)
        idle = now - timedelta(minutes=self.table.session_minutes)
        with self.store.read() as session:
            found = operations.accounts.valid_login(
                session, key, made_after=self._oldest(), seen_after=idle
            )
        if found is None:
            return None
        login, account = found

        def seen() -> None:
            with self.store.begin() as session:
                operations.accounts.mark_session_seen(session, key, now=now)

        stale = seen if _is_old(login.seen_at, now) else None
        return Caller(name=account.name, role=account.role, csrf=login.csrf, stale=stale)

    def of_token(self, secret: str) -> Caller | None:
        """Who has a token."""
        now = self.now()
        with self.store.read() as session:
            found = operations.accounts.valid_token(session, digest(secret), now=now)
        if found is None:
            return None
        id_ = found.id

        def used() -> None:
            with self.store.begin() as session:
                operations.accounts.mark_token_used(session, id_, now=now)

        stale = used if found.used_at is None or _is_old(found.used_at, now) else None
        return Caller(name=f"token {found.name}", role=found.role, stale=stale)


def _is_old(seen: datetime, now: datetime) -> bool:
    return now - seen > timedelta(seconds=SEEN_SECONDS)
