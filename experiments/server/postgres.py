"""A PostgreSQL cluster of our own in a folder, reached through a socket that only its user can open."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from sbp.errors import UserError
from sbp.utils.signals import defer_signals

INSTALLED = Path("/usr/lib/postgresql")
"""Where Debian keeps the programs, below a folder for each version."""
UNPRIVILEGED = ("postgres", "nobody")
"""Whom PostgreSQL may run as where we are root, which it refuses: the first that there is."""
ORPHANS = "pre-existing shared memory block"
"""What it says while processes of a killed server have not noticed yet."""
ROLES = ("mlflow", "postgres")
TABLES = "CREATE ROLE mlflow LOGIN;\nCREATE DATABASE mlflow OWNER mlflow;\n"


def programs(cluster: Path | None = None) -> Path:
    """The folder of initdb, postgres and pg_ctl: PG_BIN if set, else the newest version, or that which made
    `cluster`. Raises UserError if there is none."""
    if given := os.environ.get("PG_BIN"):
        if (Path(given) / "initdb").is_file():
            return Path(given)
        raise UserError(f"PG_BIN={given}: there is no initdb")
    made_by = (cluster / "PG_VERSION").read_text().strip() if cluster else ""
    found = sorted(INSTALLED.glob(f"{made_by or '*'}/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if initdb := found[-1] if found else shutil.which("initdb"):
        return Path(initdb).parent
    package = f"postgresql-{made_by}, which made {cluster}" if made_by else "postgresql"
    raise UserError(f"no initdb in {INSTALLED} or PATH: install Debian's package {package}, or set PG_BIN")


class Postgres:
    """The cluster in `folder`/database, with one database `mlflow`. It can be started, stopped and killed as
    often as one likes; a context, at whose end it is stopped."""

    def __init__(self, folder: Path):
        self.data, self.log = folder / "database", folder / "postgres.log"
        self.owner = owner()
        self.process: subprocess.Popen[bytes] | None = None
        self.programs = programs(self.data if self.data.is_dir() else None)
        # Its own path may be longer than the name of a socket can be.
        self._socket = tempfile.TemporaryDirectory(prefix="sbp-postgres-")
        self._give(Path(self._socket.name))

    @property
    def uri(self) -> str:
        """As SQLAlchemy wants it, whose default driver depends on its version. It holds no password: the
        system says who opens the socket."""
        return f"postgresql+psycopg2://mlflow@/mlflow?host={quote(self._socket.name)}"

    def __enter__(self) -> "Postgres":
        return self

    def __exit__(self, *_: object) -> None:
        with defer_signals():
            self.stop()
            self._socket.cleanup()

    def start(self, patience_s: float = 60) -> None:
        """Start it, making the cluster if need be, and wait until it answers. Raises UserError if it does
        not. The caller sees to it that nobody else uses the folder: what runs there is left over, and is
        stopped."""
        if not self.data.is_dir():
            self._make()
        self._allow()
        if self._run("pg_ctl", "status", "-D", self.data).returncode == 0:
            self._run("pg_ctl", "stop", "-D", self.data, "-m", "fast", "-w")
        deadline = time.monotonic() + patience_s
        while not self._started(deadline):
            if time.monotonic() > deadline:
                self.stop()
                raise UserError(f"PostgreSQL does not start, see {self.log}")

    def stop(self, how: signal.Signals = signal.SIGINT, patience_s: float = 60) -> None:
        """Stop it. how: SIGINT ends sessions and leaves everything in order, SIGQUIT goes at once, after
        which the next start recovers, and so it does after SIGKILL."""
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
        self.process = None

    def _make(self) -> None:
        """Make the cluster: it is whole or not there."""
        fresh = self.data.with_name("database.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True, mode=0o700)
        self._give(fresh)
        if self._run("test", "-w", fresh, own=False).returncode:
            raise UserError(
                f"{fresh}: PostgreSQL refuses to run as root, and {self.owner}, as whom it runs, cannot "
                "enter; choose another folder with --folder or SBP_OUTPUT"
            )
        form = ("--encoding=UTF8", "--no-locale", "--data-checksums", "--auth=peer", "--username=postgres")
        made = self._run("initdb", *form, "-D", fresh)
        if made.returncode == 0:
            made = self._run("postgres", "--single", "-D", fresh, "postgres", given=TABLES)
        if made.returncode:
            raise UserError(f"PostgreSQL cannot make {fresh}: {_last_line(made.stderr)}")
        fresh.rename(self.data)

    def _allow(self) -> None:
        """Let in ourselves and the cluster's user, through the socket and as the system knows us."""
        import pwd

        ourselves = pwd.getpwuid(os.geteuid()).pw_name
        users = dict.fromkeys([ourselves, self.owner or ourselves])
        lines = [f'sbp "{user}" {role}' for user in users for role in ROLES]
        (self.data / "pg_ident.conf").write_text("\n".join(lines) + "\n")
        (self.data / "pg_hba.conf").write_text("local all all peer map=sbp\n")

    def _started(self, deadline: float) -> bool:
        """Whether it answers; False if it has ended because of what a killed one left."""
        before = self.log.stat().st_size if self.log.exists() else 0
        options = ("-c", "listen_addresses=", "-k", self._socket.name)
        with open(self.log, "ab") as log, defer_signals():
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, *options],
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours
                **self._identity(),
            )
        while self._run("pg_isready", "-h", self._socket.name).returncode:
            if self.process.poll() is not None:
                if ORPHANS not in self.log.read_bytes()[before:].decode(errors="replace"):
                    raise UserError(f"PostgreSQL does not start, see {self.log}")
                time.sleep(0.5)
                return False
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def _run(self, program: str, *arguments: object, own: bool = True, given: str | None = None):
        """Run a program as the cluster's user. own: it is one of PostgreSQL's."""
        command = [str(self.programs / program) if own else program, *map(str, arguments)]
        return subprocess.run(command, input=given, capture_output=True, text=True, **self._identity())

    def _identity(self) -> dict:
        """What lets a process run as the cluster's user, in a folder that it may enter."""
        if self.owner is None:
            return {"cwd": "/"}
        import pwd

        group = pwd.getpwnam(self.owner).pw_gid
        return {"cwd": "/", "user": self.owner, "group": group, "extra_groups": []}

    def _give(self, path: Path) -> None:
        if self.owner is not None:
            shutil.chown(path, self.owner)


def owner() -> str | None:
    """Whom a cluster belongs to: None for ourselves, somebody else where we are root."""
    if os.geteuid() != 0:
        return None
    import pwd

    known = {user.pw_name for user in pwd.getpwall()}
    return next(name for name in UNPRIVILEGED if name in known)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]
