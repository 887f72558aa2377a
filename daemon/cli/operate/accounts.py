"""Commands about who may use the console: users, tokens. Passwords are read from a file or asked for, never an argument."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from factd.daemon.cli import common
from factd.daemon.cli.common import Json, opened, sentences
from factd.daemon.cli.output import show
from factd.daemon.config.load import secret_text
from factd.daemon.errors import Refused
from factd.store import operations, queries
from factd.store.model.operations import Account, Role, Token

users_app = typer.Typer(no_args_is_help=True, help="Who may use the console.")
tokens_app = typer.Typer(no_args_is_help=True, help="Secrets for programs that use the API.")

RoleOf = Annotated[Role, typer.Option(help="view: look; operate: also approve, withdraw, …")]
PasswordFile = Annotated[
    Path | None, typer.Option(help="Holds the password; without it you are asked.")
]


def user_line(account: Account) -> str:
    """An account in one line."""
    off = "  disabled" if account.disabled else ""
    return f"{account.name:<20} {account.role.value:<8} since {account.made_at:%Y-%m-%d}{off}"


def token_line(token: Token) -> str:
    """A token in one line."""
    used = f"{token.used_at:%Y-%m-%d %H:%M}" if token.used_at else "never"
    until = f", good until {token.expires_at:%Y-%m-%d}" if token.expires_at else ""
    off = "  revoked" if token.revoked else ""
    return f"{token.id:>4}  {token.name:<20} {token.role.value:<8} last used {used}{until}{off}"


def password_from(file: Path | None) -> str:
    """The password of a file, or of who is at the keyboard. Raises: BadConfig."""
    if file is not None:
        return secret_text(file)
    found: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return found


def named(name: str) -> str:
    """A name as it is kept. Raises: Refused."""
    from factd.daemon.web.auth.accounts import NAME

    if not 0 < len(name) <= NAME or not name.isprintable() or name != name.strip():
        raise Refused(f"a name has 1 to {NAME} characters that can be shown")
    return name


@users_app.command("add")
def users_add(
    name: str, role: RoleOf, password_file: PasswordFile = None, as_json: Json = False
) -> None:
    """Let somebody in."""
    from factd.daemon.web.auth.accounts import hashed

    with sentences():
        app = opened()
        secret = hashed(password_from(password_file))
        with app.ledger.begin() as session:
            if operations.accounts.account(session, named(name)):
                raise Refused(f"there is a {name!r} already; `factd users password {name}`")
            now = app.ledger.now()
            made = operations.accounts.add_account(session, name, role, secret, now=now)
            what = f"users add {name} ({role.value})"
            queries.releases.log_action(session, who=common.who(), what=what, why="", now=now)
    show(made.as_json(), [user_line(made)], as_json=as_json)


@users_app.command("password")
def users_password(name: str, password_file: PasswordFile = None, as_json: Json = False) -> None:
    """Another password; who is logged in by that name is logged out."""
    from factd.daemon.web.auth.accounts import hashed

    with sentences():
        changed = _change(name, "password", secret=hashed(password_from(password_file)))
    show(changed.as_json(), [user_line(changed)], as_json=as_json)


@users_app.command("disable")
def users_disable(name: str, as_json: Json = False) -> None:
    """Let somebody in no more, and log them out."""
    with sentences():
        changed = _change(name, "disable", disabled=True)
    show(changed.as_json(), [user_line(changed)], as_json=as_json)


@users_app.command("enable")
def users_enable(name: str, as_json: Json = False) -> None:
    """Let somebody in again."""
    with sentences():
        changed = _change(name, "enable", disabled=False)
    show(changed.as_json(), [user_line(changed)], as_json=as_json)


def _change(
    name: str, verb: str, *, secret: str | None = None, disabled: bool | None = None
) -> Account:
    app = opened()
    with app.ledger.begin() as session:
        found = operations.accounts.change_account(session, name, secret=secret, disabled=disabled)
        what = f"users {verb} {name}"
        queries.releases.log_action(
            session, who=common.who(), what=what, why="", now=app.ledger.now()
        )
    return found


@users_app.command("list")
def users_list(as_json: Json = False) -> None:
    """Everybody who was ever let in."""
    with sentences(), opened().ledger.read() as session:
        found = operations.accounts.accounts(session)
    lines = [user_line(account) for account in found] or ["nobody; `factd users add NAME`"]
    show([account.as_json() for account in found], lines, as_json=as_json)


@tokens_app.command("add")
def tokens_add(
    name: str,
    role: RoleOf,
    days: Annotated[int | None, typer.Option(min=1, help="It is good for; without: ever.")] = None,
    as_json: Json = False,
) -> None:
    """A new token for a program, shown once."""
    from factd.daemon.web.auth.accounts import digest, new_token

    secret = new_token()
    with sentences():
        app = opened()
        lasts = timedelta(days=days) if days else None
        with app.ledger.begin() as session:
            made = operations.accounts.add_token(
                session, named(name), role, digest(secret), now=app.ledger.now(), lasts=lasts
            )
            what = f"tokens add {name} ({role.value})"
            queries.releases.log_action(
                session, who=common.who(), what=what, why="", now=app.ledger.now()
            )
    show({**made.as_json(), "token": secret}, [token_line(made), secret], as_json=as_json)


@tokens_app.command("list")
def tokens_list(as_json: Json = False) -> None:
    """All that were ever made, without their secrets."""
    with sentences(), opened().ledger.read() as session:
        found = operations.accounts.tokens(session)
    lines = [token_line(token) for token in found] or ["none; `factd tokens add NAME`"]
    show([token.as_json() for token in found], lines, as_json=as_json)


@tokens_app.command("revoke")
def tokens_revoke(
    id_: Annotated[int, typer.Argument(metavar="ID", min=0, max=2**31 - 1)], as_json: Json = False
) -> None:
    """A token is good no more."""
    with sentences():
        app = opened()
        with app.ledger.begin() as session:
            found = operations.accounts.revoke_token(session, id_)
            what = f"tokens revoke {id_} ({found.name})"
            queries.releases.log_action(
                session, who=common.who(), what=what, why="", now=app.ledger.now()
            )
    show(found.as_json(), [token_line(found)], as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(users_app, name="users")
    cli.add_typer(tokens_app, name="tokens")
