"""The commands `factd backup` and `factd restore`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from factd.daemon.backup.create import back_up
from factd.daemon.backup.restore import Restored
from factd.daemon.backup.restore import restore as restore_backup
from factd.daemon.backup.restore import verify as verify_backup
from factd.daemon.cli.common import Json, config_path, configured_app, reported_errors
from factd.daemon.cli.output import show

Target = Annotated[
    Path, typer.Argument(help="Where the backup goes: a new folder, or a file that ends with .tar.")
]
Source = Annotated[Path, typer.Argument(help="A backup that `factd backup` wrote.")]


class _BackupGroup(TyperGroup):
    """Lets `factd backup TARGET` mean `factd backup make TARGET`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `make` in front of the arguments if they begin with no command."""
        if args and args[0] not in (*self.commands, "--help"):
            args = ["make", *args]
        return super().parse_args(ctx, args)


backup_app = typer.Typer(
    no_args_is_help=True,
    cls=_BackupGroup,
    help="Make and verify backups. `factd backup TARGET` makes one.",
)


@backup_app.command("make")
def backup_make(
    target: Target,
    with_workspace: Annotated[
        bool,
        typer.Option("--with-workspace", help="Include the cached values and statistics."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Back up the database, the configuration and every release's delta.

    The daemon may run. The word `make` may be left out.
    """
    with reported_errors():
        made = back_up(configured_app(), config_path(), target, workspace=with_workspace)
    lines = [f"{made.path}: {made.files} files, {made.bytes:,} bytes, {made.releases} releases"]
    if made.masked:
        lines.append("passwords and queries of URLs in the configuration were masked in the copy")
    show(made.as_json(), lines, as_json=as_json)


@backup_app.command("verify")
def backup_verify(path: Source, as_json: Json = False) -> None:
    """Compare every file of a backup with its SHA-256. Exit code 1 if one differs."""
    with reported_errors():
        manifest = verify_backup(path)
    line = (
        f"{path}: all {len(manifest['files'])} files match the manifest; "
        f"made {manifest['made_at']}, schema {manifest['schema']}"
    )
    show({**manifest, "ok": True}, [line], as_json=as_json)


def restore(
    path: Source,
    to: Annotated[
        Path,
        typer.Option("--to", help="The folder to restore into; it is empty or does not exist."),
    ],
    database: Annotated[
        str, typer.Option("--database", help="The URL of an empty PostgreSQL database.")
    ] = "",
    without_versions: Annotated[
        bool, typer.Option("--without-versions", help="Do not write the model files again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Restore a whole factd from a backup into an empty folder.

    The backup is verified first. Stop the old daemon before.
    """
    with reported_errors():
        restored = restore_backup(path, to, database=database, versions=not without_versions)
    show(restored.as_json(), restored_lines(restored), as_json=as_json)


def restored_lines(restored: Restored) -> list[str]:
    """What was restored, and what the operator still has to do."""
    config, live = restored.path / "factd.toml", restored.live
    lines = [f"{config}: release {live} is live, the database is at {restored.schema}"]
    if restored.was != restored.schema:
        lines.append(f"the schema was upgraded from {restored.was}")
    if restored.versions:
        lines.append(f"versions written again: {', '.join(map(str, restored.versions))}")
    if restored.differ:
        differ = ", ".join(map(str, restored.differ))
        lines.append(
            f"versions whose bytes differ from before: {differ} (other hardware?); "
            "`factd audit` checks the answers of the live one"
        )
    if restored.without:
        lines.append(f"no version was written ({restored.without}); {publish_again(live)}")
    if restored.left_out:
        lines.append(
            "the files of these keys were not in the backup, put them back: "
            f"{', '.join(restored.left_out)}"
        )
    return lines


def publish_again(live: int | None) -> str:
    """The commands that bring out the live release of a factd restored without versions.

    `factd releases publish` does nothing for the release that the database calls live. So another
    release is published first.
    """
    if not live:
        return "`factd rollback --to 0` writes the base model, then `factd unfreeze`"
    return f"`factd releases publish 0`, then `factd releases publish {live}` write and serve it"


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(backup_app, name="backup")
    cli.command()(restore)
