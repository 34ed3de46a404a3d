"""A SLURM cluster of one node on this machine: `python -m tests.engines.slurm COMMAND ...` runs one in it.

It needs Debian's packages slurm-wlm and munge, and touches nothing of the system: configuration, key, state
and logs are in a folder of their own, the daemons take free ports and end with the command. Jobs are real:
submitted by sbatch, started by slurmd, killed by scancel.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")

# Without cgroups and without an accounting database, which small clusters lack as well.
CONFIG = """
ClusterName=one-node
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=20
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs of SLURM that are not installed."""
    return [name for name in PROGRAMS if not _program(name)]


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@contextlib.contextmanager
def cluster(cpus: int = 2) -> Iterator[dict[str, str]]:
    """Start the daemons; gives the environment in which sbatch and its kin find them."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # munge wants every folder above to be safe
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(mode=0o700)
    folder.chmod(0o755)
    (folder / "munge").chmod(0o711)
    host, ports = socket.gethostname().split(".")[0], _free_ports(2)
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    places = {"folder": folder, "host": host, "user": user, "cpus": cpus}
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(**places, controller_port=ports[0], node_port=ports[1]))
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    environment = {**os.environ, "SLURM_CONF": str(config)}
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        munge = {f"--{n}-file": folder / "munge" / n for n in ("key", "pid", "log", "seed")}
        socket_path = folder / "munge" / "socket"
        options = [f"{option}={path}" for option, path in {**munge, "--socket": socket_path}.items()]
        _start(stack, "munged", "--foreground", *options, log=folder / "munged.out")
        _wait(socket_path.exists, folder, "munged")
        _start(stack, "slurmctld", "-D", "-f", str(config), log=folder / "slurmctld.out")
        _start(stack, "slurmd", "-D", "-N", host, "-f", str(config), log=folder / "slurmd.out")
        state = ["sinfo", "--noheader", "--format=%t"]

        def idle() -> bool:
            return subprocess.run(state, env=environment, capture_output=True, text=True).stdout == "idle\n"

        _wait(idle, folder, "the node")
        yield environment
        subprocess.run(["scancel", f"--user={user}"], env=environment, capture_output=True)


def _start(stack: contextlib.ExitStack, name: str, *arguments: str, log: Path) -> None:
    with open(log, "w") as out:
        daemon = subprocess.Popen([str(_program(name)), *arguments], stdout=out, stderr=subprocess.STDOUT)

    def stop() -> None:
        daemon.terminate()
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            daemon.kill()

    stack.callback(stop)


def _wait(condition, folder: Path, what: str, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            logs = sorted([*folder.glob("*.out"), *folder.glob("*.log"), *folder.glob("munge/log")])
            said = "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in logs)
            raise RuntimeError(f"{what} does not start\n{said}")
        time.sleep(0.2)


def main() -> None:
    """Run the command line's command in a cluster; its exit code is ours."""
    if names := missing():
        sys.exit(f"not installed: {', '.join(names)}; Debian: apt-get install slurm-wlm munge")
    with cluster() as environment:
        code = subprocess.run(sys.argv[1:], env=environment).returncode
    sys.exit(code)


if __name__ == "__main__":
    main()
