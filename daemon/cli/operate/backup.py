"""`factd backup TARGET`, `factd backup verify PATH`, `factd restore PATH --to DIR`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from factd.daemon.cli.common import Json, config_path, opened, sentences
from factd.daemon.cli.output import show

if TYPE_CHECKING:
    from factd.daemon.backup.restore import Restored

Target = Annotated[Path, typer.Argument(help="A new folder, or a file that ends with .tar.")]
Source = Annotated[Path, typer.Argument(help="What `factd backup` wrote.")]


class _Backup(TyperGroup):
    """`factd backup TARGET` is `factd backup make TARGET`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """With the command that was meant."""
        if args and args[0] not in (*self.commands, "--help"):
            args = ["make", *args]
        return super().parse_args(ctx, args)


backup_app = typer.Typer(no_args_is_help=True, cls=_Backup, help="Backups.")


@backup_app.command("make")
def backup_make(
    target: Target,
    with_workspace: Annotated[
        bool, typer.Option("--with-workspace", help="Cached values and statistics, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Back up the database, the configuration, and every release's delta; the daemon may run. `make` may be left out."""
    from factd.daemon.backup.create import back_up

    with sentences():
        found = back_up(opened(), config_path(), target, workspace=with_workspace)
    lines = [f"{found.path}: {found.files} files, {found.bytes:,} bytes, {found.releases} releases"]
    if found.masked:
        lines.append("passwords and queries of URLs in the configuration were masked in the copy")
    show(found.as_json(), lines, as_json=as_json)


@backup_app.command("verify")
def backup_verify(path: Source, as_json: Json = False) -> None:
    """Compare every file of a backup with its SHA-256. Exit 1 where one differs."""
    from factd.daemon.backup.restore import verify as verified

    with sentences():
        found = verified(path)
    line = f"{path}: {len(found['files'])} files are what the manifest says; of {found['made_at']}, schema {found['schema']}"
    show({**found, "ok": True}, [line], as_json=as_json)


def restore(
    path: Source,
    to: Annotated[Path, typer.Option("--to", help="A folder that is empty, or is not there.")],
    database: Annotated[
        str, typer.Option("--database", help="URL of an empty PostgreSQL database.")
    ] = "",
    without_versions: Annotated[
        bool, typer.Option("--without-versions", help="Do not write the models' files again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """A whole factd in an empty folder, out of a backup, which is verified first. Stop the one that it replaces."""
    from factd.daemon.backup.restore import restore as restored

    with sentences():
        found = restored(path, to, database=database, versions=not without_versions)
    show(found.as_json(), restored_lines(found), as_json=as_json)


def restored_lines(found: "Restored") -> list[str]:
    """For people: what stands, and what is left to do."""
    config = found.path / "factd.toml"
    lines = [f"{config}: release {found.live} is live, the database is at {found.schema}"]
    if found.was != found.schema:
        lines.append(f"the schema was upgraded from {found.was}")
    if found.versions:
        lines.append(f"versions written again: {', '.join(map(str, found.versions))}")
    if found.differ:
        lines.append(
            f"not the same bytes as before (other hardware?): {', '.join(map(str, found.differ))}; `factd audit` asks them"
        )
    if found.without:
        lines.append(
            f"no version was written ({found.without}); `factd releases publish {found.live}`"
        )
    if found.left_out:
        lines.append(f"put these files back: {', '.join(found.left_out)}")
    return lines


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(backup_app, name="backup")
    cli.command()(restore)
