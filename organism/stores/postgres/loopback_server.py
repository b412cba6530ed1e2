"""A PostgreSQL server on loopback, for tests and for trying a cluster: in a temporary folder, ended by its pid."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from organism.clock import SystemClock


def postgres_binaries() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest there is; Debian keeps them out of the path."""
    if (found := shutil.which("postgres")) is not None:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return folders[-1].parent if folders else None


class PostgresServer:
    """A server on loopback. Use it as a context manager.

    Args:
        settings: Such as ``{"fsync": "off"}``, beside the few that it is started with.
        primary: A server that runs: this one is a standby of it, made from a copy.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, settings: dict[str, str] | None = None, *, primary: "PostgresServer | None" = None) -> None:
        self._settings = settings or {}
        self._primary = primary
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        binaries = postgres_binaries()
        if binaries is None:
            raise FileNotFoundError("PostgreSQL's programs initdb and postgres are not installed")
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="organism-postgres-"))
        if os.geteuid() == 0:  # the server refuses to be root's
            shutil.chown(self._folder, "nobody")
        data = str(self._folder / "data")
        if self._primary is None:
            self._run("initdb", "--pgdata", data, "--auth", "trust", "--username", "postgres", "-N",
                      "--encoding", "UTF8", "--locale", "C")  # fmt: skip
        else:
            source = self._primary.url("postgres")
            self._run("pg_basebackup", "--pgdata", data, "--dbname", source, "-R", "-N", "--checkpoint", "fast")
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _user(self) -> dict[str, Any]:
        return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}

    def _run(self, program: str, *args: str) -> None:
        subprocess.run(  # noqa: S603 - Debian's programs
            [self._binaries / program, *args], check=True, capture_output=True, cwd="/", **self._user()
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        given = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
            "shared_buffers": "16MB",
            "max_connections": "50",
            "recovery_init_sync_method": "syncfs",
        }
        settings = [f"--{name}={value}" for name, value in (given | self._settings).items()]
        command = [str(self._binaries / "postgres"), "-D", str(self._folder / "data"), *settings]
        until_ns = SystemClock().now_ns() + 60 * 1_000_000_000
        with (self._folder / "log").open("ab") as log:
            while not self._answers():
                # After a kill the processes of the one before may still hold its memory: then it ends at once.
                if self._process is None or self._process.poll() is not None:
                    self._process = subprocess.Popen(  # noqa: S603 - Debian's programs
                        command, stdout=log, stderr=log, cwd="/", **self._user()
                    )
                if SystemClock().now_ns() > until_ns:
                    raise TimeoutError(self.log)
                time.sleep(0.02)

    def _answers(self) -> bool:
        import psycopg

        if self._process is None:
            return False
        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, by: signal.Signals = signal.SIGKILL) -> None:
        """End it: at once as ``kill -9`` does, unless another signal is given."""
        process, self._process = self._process, None
        if process is None:
            return
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(by)
        process.wait()
        if by == signal.SIGKILL:  # or those that serve clients would go on for a moment
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(int(child), by)

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """Return the URL of an empty database; it is one, emptied each time, for a new one is a thousand files."""
        url = self.url("test")
        if not self.execute("SELECT 1 FROM pg_database WHERE datname = 'test'"):
            self.execute("CREATE DATABASE test")
        self.execute("ALTER DATABASE test RESET ALL")
        self.execute("DROP SCHEMA IF EXISTS organism CASCADE", url)
        return url

    def execute(self, statement: str, url: str = "") -> list[tuple[Any, ...]]:
        """Execute a statement as the superuser, and return its rows."""
        import psycopg

        with psycopg.connect(url or self.url("postgres"), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []
