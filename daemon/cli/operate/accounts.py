"""The commands `factd users` and `factd tokens`: who may use the console and the API.

Passwords come from a file or from a prompt, never from an argument: arguments show in process
lists.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from factd.daemon.cli import common
from factd.daemon.cli.common import Json, configured_app, reported_errors
from factd.daemon.cli.output import show
from factd.daemon.config.secrets import secret_text
from factd.daemon.errors import Refused
from factd.daemon.web.auth.accounts import LONGEST_NAME, digest, hashed, new_token
from factd.store import operations, queries
from factd.store.model.operations import Account, Role, Token

users_app = typer.Typer(no_args_is_help=True, help="Accounts of people who may use the console.")
tokens_app = typer.Typer(no_args_is_help=True, help="Secrets of programs that use the API.")

RoleOf = Annotated[
    Role, typer.Option(help="view: read only. operate: also approve, withdraw, roll back, freeze.")
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(help="A file that holds the password. Without it the command asks for it."),
]
UserName = Annotated[str, typer.Argument(help="The account's name.")]


def user_line(account: Account) -> str:
    """An account in one line: name, role, since when, whether it is disabled."""
    disabled = "  disabled" if account.disabled else ""
    return f"{account.name:<20} {account.role.value:<8} since {account.made_at:%Y-%m-%d}{disabled}"


def token_line(token: Token) -> str:
    """A token in one line, without its secret."""
    used = f"{token.used_at:%Y-%m-%d %H:%M}" if token.used_at else "never"
    until = f", valid until {token.expires_at:%Y-%m-%d}" if token.expires_at else ""
    off = "  revoked" if token.revoked else ""
    return f"{token.id:>4}  {token.name:<20} {token.role.value:<8} last used {used}{until}{off}"


def password_from(file: Path | None) -> str:
    """The password in a file, or the one typed at the prompt. Raises: BadConfig."""
    if file is not None:
        return secret_text(file)
    typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return typed


def checked_name(name: str) -> str:
    """The name, if an account or token can have it. Raises: Refused."""
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise Refused(
            f"a name has 1 to {LONGEST_NAME} printable characters and no blanks around it"
        )
    return name


@users_app.command("add")
def users_add(
    name: UserName, role: RoleOf, password_file: PasswordFile = None, as_json: Json = False
) -> None:
    """Add an account."""
    with reported_errors():
        app = configured_app()
        secret = hashed(password_from(password_file))
        with app.ledger.begin() as session:
            if operations.accounts.account(session, checked_name(name)):
                raise Refused(
                    f"account {name!r} exists already; "
                    f"`factd users password {name}` changes its password"
                )
            now, who = app.ledger.now(), common.operator_name()
            account = operations.accounts.add_account(session, name, role, secret, now=now)
            what = f"users add {name} ({role.value})"
            queries.releases.log_action(session, who=who, what=what, why="", now=now)
    show(account.as_json(), [user_line(account)], as_json=as_json)


@users_app.command("password")
def users_password(
    name: UserName, password_file: PasswordFile = None, as_json: Json = False
) -> None:
    """Change an account's password. Its open sessions end."""
    with reported_errors():
        account = _change(name, "password", secret=hashed(password_from(password_file)))
    show(account.as_json(), [user_line(account)], as_json=as_json)


@users_app.command("disable")
def users_disable(name: UserName, as_json: Json = False) -> None:
    """Disable an account. Its open sessions end."""
    with reported_errors():
        account = _change(name, "disable", disabled=True)
    show(account.as_json(), [user_line(account)], as_json=as_json)


@users_app.command("enable")
def users_enable(name: UserName, as_json: Json = False) -> None:
    """Enable a disabled account."""
    with reported_errors():
        account = _change(name, "enable", disabled=False)
    show(account.as_json(), [user_line(account)], as_json=as_json)


def _change(
    name: str, verb: str, *, secret: str | None = None, disabled: bool | None = None
) -> Account:
    """Change an account and record it in the audit log, in one transaction."""
    app = configured_app()
    who, now = common.operator_name(), app.ledger.now()
    with app.ledger.begin() as session:
        account = operations.accounts.change_account(
            session, name, secret=secret, disabled=disabled
        )
        queries.releases.log_action(session, who=who, what=f"users {verb} {name}", why="", now=now)
    return account


@users_app.command("list")
def users_list(as_json: Json = False) -> None:
    """List all accounts, the disabled ones too."""
    with reported_errors(), configured_app().ledger.read() as session:
        accounts = operations.accounts.accounts(session)
    lines = [user_line(account) for account in accounts] or ["no accounts; `factd users add NAME`"]
    show([account.as_json() for account in accounts], lines, as_json=as_json)


@tokens_app.command("add")
def tokens_add(
    name: Annotated[str, typer.Argument(help="A name that says which program uses the token.")],
    role: RoleOf,
    days: Annotated[
        int | None, typer.Option(min=1, help="Days until the token expires. Without it: never.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token for a program. The secret is shown once."""
    secret = new_token()
    with reported_errors():
        app = configured_app()
        who, now = common.operator_name(), app.ledger.now()
        lasts = timedelta(days=days) if days else None
        with app.ledger.begin() as session:
            token = operations.accounts.add_token(
                session, checked_name(name), role, digest(secret), now=now, lasts=lasts
            )
            what = f"tokens add {name} ({role.value})"
            queries.releases.log_action(session, who=who, what=what, why="", now=now)
    show({**token.as_json(), "token": secret}, [token_line(token), secret], as_json=as_json)


@tokens_app.command("list")
def tokens_list(as_json: Json = False) -> None:
    """List all tokens, the revoked ones too, without their secrets."""
    with reported_errors(), configured_app().ledger.read() as session:
        tokens = operations.accounts.tokens(session)
    lines = [token_line(token) for token in tokens] or ["no tokens; `factd tokens add NAME`"]
    show([token.as_json() for token in tokens], lines, as_json=as_json)


@tokens_app.command("revoke")
def tokens_revoke(
    id_: Annotated[int, typer.Argument(metavar="ID", min=0, max=2**31 - 1)], as_json: Json = False
) -> None:
    """Revoke a token. Programs that use it are refused at once."""
    with reported_errors():
        app = configured_app()
        who, now = common.operator_name(), app.ledger.now()
        with app.ledger.begin() as session:
            token = operations.accounts.revoke_token(session, id_)
            what = f"tokens revoke {id_} ({token.name})"
            queries.releases.log_action(session, who=who, what=what, why="", now=now)
    show(token.as_json(), [token_line(token)], as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(users_app, name="users")
    cli.add_typer(tokens_app, name="tokens")
