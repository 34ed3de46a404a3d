"""`make server` where something is missing or in the way: one line. The real thing: tests/faults."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.server import mlflow_server, postgres, run
from experiments.server.mlflow_server import MlflowServer
from experiments.server.postgres import programs
from sbp.errors import UserError
from sbp.utils.files import file_lock
from tests.processes import free_port


@pytest.fixture
def versions(tmp_path, monkeypatch) -> Path:
    """Debian's folder of PostgreSQL with versions 9 and 15, and none elsewhere."""
    for version in ("9", "15"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch(mode=0o755)
    monkeypatch.setattr(postgres, "INSTALLED", tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("PG_BIN", raising=False)
    return tmp_path


def cluster_of(folder: Path, version: str) -> Path:
    cluster = folder / "cluster"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text(f"{version}\n")
    return cluster


def test_the_newest_programs_make_a_cluster(versions):
    assert programs() == versions / "15" / "bin"


def test_a_cluster_keeps_the_programs_that_made_it(versions):
    assert programs(cluster_of(versions, "9")) == versions / "9" / "bin"


def test_a_cluster_of_a_version_that_is_gone_names_its_package(versions):
    with pytest.raises(UserError, match=r"install Debian's package postgresql-13, which made .*cluster"):
        programs(cluster_of(versions, "13"))


def test_programs_are_found_in_path_and_where_pg_bin_says(versions, monkeypatch):
    monkeypatch.setenv("PG_BIN", str(versions / "9" / "bin"))
    assert programs() == versions / "9" / "bin"
    monkeypatch.delenv("PG_BIN")
    monkeypatch.setenv("PATH", str(versions / "9" / "bin"))
    monkeypatch.setattr(postgres, "INSTALLED", versions / "nowhere")
    assert programs() == versions / "9" / "bin"


def test_missing_programs_name_the_package(versions, monkeypatch):
    monkeypatch.setattr(postgres, "INSTALLED", versions / "nowhere")
    with pytest.raises(
        UserError, match=r"no initdb in .*: install Debian's package postgresql, or set PG_BIN"
    ):
        programs()
    monkeypatch.setenv("PG_BIN", str(versions))
    with pytest.raises(UserError, match=r"PG_BIN=.*: there is no initdb"):
        programs()


def test_a_missing_driver_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(mlflow_server.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"psycopg2: .venv/bin/pip install -e '\.\[server\]'"):
        run.serve(tmp_path, 0)


@pytest.fixture
def taken():
    """A port at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_that_is_taken_is_one_line(taken, tmp_path):
    with pytest.raises(UserError, match=f"port {taken}: Address already in use; choose another with PORT="):
        MlflowServer(tmp_path, "sqlite://", taken).start()


def test_a_folder_is_served_once(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "check_driver", lambda: None)
    with (
        file_lock(tmp_path / ".lock"),
        pytest.raises(UserError, match=r"process \d+ serves it already"),
    ):
        run.serve(tmp_path, 0)


def test_a_server_that_does_not_come_up_names_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(mlflow_server.sys, "executable", "/bin/false")
    server = MlflowServer(tmp_path, "sqlite://", free_port())
    with pytest.raises(UserError, match=r"the MLflow server does not start, see .*mlflow\.log"):
        server.start()
    assert server.process is None


def test_what_a_killed_server_left_is_ended(tmp_path):
    """A process that holds the lock, as `mlflow server` does, with its number in the file."""
    script = (
        "import fcntl, os, sys, time; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX);"
        "file.write(str(os.getpid())); file.flush(); print(flush=True); time.sleep(60)"
    )
    server = MlflowServer(tmp_path, "sqlite://", free_port())
    left = subprocess.Popen(
        [sys.executable, "-c", script, str(server.number)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert left.stdout is not None
    left.stdout.readline()
    server.claim_port()
    assert left.wait() == -9


def test_the_environment_holds_the_address_of_the_database_and_the_command_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    environment = MlflowServer(tmp_path, "postgresql://db", 1)._environment()
    assert environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql://db"
    assert "MLFLOW_TRACKING_URI" not in environment


def test_a_mistake_ends_the_script_with_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(run.signals, "install", lambda: None)
    monkeypatch.setattr(run, "check_driver", lambda: None)
    monkeypatch.setattr(sys, "argv", ["server", "--folder", str(tmp_path)])
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"server: PG_BIN={tmp_path}: there is no initdb\n"
