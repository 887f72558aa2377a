"""Accounts, tokens and sessions of the console. The database stores hashes, never secrets."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from factd.store.errors import NotFound
from factd.store.model.operations import Account, Login, Role, Token
from factd.store.schema.operations import AccountRow, SessionRow, TokenRow


def account(session: Session, name: str) -> Account | None:
    """The account with a name; None if there is none."""
    row = session.get(AccountRow, name, populate_existing=True)
    return _account(row) if row else None


def accounts(session: Session) -> list[Account]:
    """All accounts, by name; no limit."""
    return [_account(row) for row in session.scalars(select(AccountRow).order_by(AccountRow.name))]


def add_account(session: Session, name: str, role: Role, secret: str, *, now: datetime) -> Account:
    """Add an account. secret: a slow hash of the password."""
    row = AccountRow(name=name, role=role, secret=secret, made_at=now, disabled=False)
    session.add(row)
    session.flush()
    return _account(row)


def change_account(
    session: Session, name: str, *, secret: str | None = None, disabled: bool | None = None
) -> Account:
    """Change the password hash of an account, or disable or enable it; its sessions are closed.

    Raises: NotFound: there is no such account.
    """
    row = session.get(AccountRow, name, populate_existing=True)
    if row is None:
        raise NotFound(f"no account {name!r}; see `factd users list`")
    row.secret = row.secret if secret is None else secret
    row.disabled = row.disabled if disabled is None else disabled
    session.flush()
    session.execute(delete(SessionRow).where(SessionRow.account == name))
    return _account(row)


def replace_password_hash(session: Session, name: str, secret: str) -> None:
    """Store a newer hash of the same password; sessions stay open."""
    session.execute(update(AccountRow).where(AccountRow.name == name).values(secret=secret))


def _account(row: AccountRow) -> Account:
    return Account(
        name=row.name,
        role=Role(row.role),
        secret=row.secret,
        made_at=row.made_at,
        disabled=row.disabled,
    )


def add_token(
    session: Session,
    name: str,
    role: Role,
    digest: str,
    *,
    now: datetime,
    lasts: timedelta | None = None,
) -> Token:
    """Add an access token for a program. digest: SHA-256 of the token; lasts: None for no end."""
    row = TokenRow(
        name=name,
        role=role,
        digest=digest,
        made_at=now,
        used_at=None,
        expires_at=now + lasts if lasts else None,
        revoked=False,
    )
    session.add(row)
    session.flush()
    return _token(row)


def tokens(session: Session) -> list[Token]:
    """All tokens, revoked and expired ones included; newest first, no limit."""
    return [_token(row) for row in session.scalars(select(TokenRow).order_by(TokenRow.id.desc()))]


def valid_token(session: Session, digest: str, *, now: datetime) -> Token | None:
    """The token with a digest; None if it is unknown, revoked or expired."""
    row = session.scalar(select(TokenRow).where(TokenRow.digest == digest))
    if row is None or row.revoked or (row.expires_at is not None and row.expires_at <= now):
        return None
    return _token(row)


def mark_token_used(session: Session, id_: int, *, now: datetime) -> None:
    """Store the time of a token's last use."""
    session.execute(update(TokenRow).where(TokenRow.id == id_).values(used_at=now))


def revoke_token(session: Session, id_: int) -> Token:
    """Revoke a token for good. Raises: NotFound: there is no such token."""
    row = session.get(TokenRow, id_, populate_existing=True)
    if row is None:
        raise NotFound(f"no token {id_}; see `factd tokens list`")
    row.revoked = True
    session.flush()
    return _token(row)


def _token(row: TokenRow) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        made_at=row.made_at,
        used_at=row.used_at,
        expires_at=row.expires_at,
        revoked=row.revoked,
    )


def open_session(session: Session, *, digest: str, account: str, csrf: str, now: datetime) -> Login:
    """Store the session of a person who has logged in."""
    row = SessionRow(digest=digest, account=account, csrf=csrf, made_at=now, seen_at=now)
    session.add(row)
    session.flush()
    return _login(row)


def valid_login(
    session: Session, digest: str, *, made_after: datetime, seen_after: datetime
) -> tuple[Login, Account] | None:
    """The session with a cookie's digest, with its account.

    None if the session is unknown or too old, or if the account is disabled.
    """
    query = select(SessionRow, AccountRow).join(AccountRow, AccountRow.name == SessionRow.account)
    where = (
        SessionRow.digest == digest,
        SessionRow.made_at > made_after,
        SessionRow.seen_at > seen_after,
        AccountRow.disabled.is_(False),
    )
    row = session.execute(query.where(*where)).first()
    return (_login(row[0]), _account(row[1])) if row else None


def mark_session_seen(session: Session, digest: str, *, now: datetime) -> None:
    """Store the time of a session's last request."""
    session.execute(update(SessionRow).where(SessionRow.digest == digest).values(seen_at=now))


def close_sessions(session: Session, digests: Sequence[str], *, made_before: datetime) -> None:
    """Delete the sessions with the given digests, and all sessions that began before a time."""
    session.execute(delete(SessionRow).where(SessionRow.digest.in_(digests)))
    session.execute(delete(SessionRow).where(SessionRow.made_at <= made_before))


def _login(row: SessionRow) -> Login:
    return Login(
        digest=row.digest,
        account=row.account,
        csrf=row.csrf,
        made_at=row.made_at,
        seen_at=row.seen_at,
    )
