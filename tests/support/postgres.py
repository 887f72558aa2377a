"""A real PostgreSQL server on loopback, for one test process, run by an unprivileged user."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import create_engine, text

from factd.store.database import migrate

USERS = ("postgres", "nobody")  # PostgreSQL refuses to run as root
SECONDS = 60
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60")


def binaries() -> Path | None:
    """The folder of the server programs, or None if PostgreSQL is not installed."""
    folders = [Path(p).parent for p in [shutil.which("initdb")] if p]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((p for p in folders if (p / "initdb").exists() and (p / "postgres").exists()), None)


class Server:
    """One server. Each new database is a copy of a migrated one."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="factd-postgres-"))
        self.user = next(u for u in USERS if os.getuid() or u) if not os.getuid() else None
        self.port = _free_port()
        if self.user:
            shutil.chown(self.folder, self.user)
        data = self.folder / "data"
        self._run([f"{folder}/initdb", "-D", f"{data}", "-A", "trust", "-U", "factd", "-N"])
        self.command = [
            f"{folder}/postgres",
            "-D",
            f"{data}",
            "-p",
            f"{self.port}",
            "-k",
            f"{self.folder}",
        ]
        self.command += ["-h", "127.0.0.1", *(word for setting in FAST for word in ("-c", setting))]
        self._start()
        migrate.upgrade(self.new("factd_template", "template1"))

    def _start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, user=self.user, cwd="/"
            )
        self._wait_until_it_answers()

    def pause(self) -> None:
        """Stop the server: open connections end, new ones are refused."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=SECONDS)

    def resume(self) -> None:
        """Start the server again."""
        self._start()

    def _run(self, command: Sequence[str]) -> None:
        subprocess.run(
            command, check=True, capture_output=True, timeout=SECONDS, user=self.user, cwd="/"
        )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                self._execute("SELECT 1")
                return
            except Exception:
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        raise RuntimeError((self.folder / "log").read_text())

    def url(self, name: str) -> str:
        return f"postgresql://factd@127.0.0.1:{self.port}/{name}"

    def _execute(self, statement: str) -> None:
        url = self.url("postgres").replace("postgresql:", "postgresql+psycopg:")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()

    def new(self, name: str = "", template: str = "factd_template") -> str:
        """The URL of a new database with the schema."""
        name = name or f"t{uuid.uuid4().hex[:12]}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=20)
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
