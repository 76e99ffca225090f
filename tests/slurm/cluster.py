"""A real Slurm on one machine: controller, accounting and four nodes, to submit to as on any cluster.

The GPUs are counted, not real; everything else is Slurm's own. As root on Debian or Ubuntu:

    python tests/slurm/cluster.py        start it, and stop it with Ctrl-C

Slurm's commands look for /etc/slurm, and the Slurm plugin hides every other place from its jobs, so that the
configuration is linked there. A machine that has a Slurm of its own is left alone.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPLATES = Path(__file__).parent / "conf"
ETC = Path("/etc/slurm")
PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "sbatch", "sacct", "munged", "mariadbd", "modulecmd")
PACKAGES = ("slurm-wlm", "slurmdbd", "munge", "mariadb-server", "environment-modules")
NODES = ("gpu1", "gpu2", "cpu1", "cpu2")
PREFIX = "msdiff-slurm-"
SECONDS = 30.0
# Where daemons are, and what installs them looks; not every root has these in its path.
os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])


class NotStarted(Exception):
    """A part of the cluster did not come up."""


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    if os.geteuid() != 0:
        return "only root starts a Slurm cluster"
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    if lacking and shutil.which("apt-get") is None:
        return f"no {', '.join(lacking)}, and no apt-get to install {', '.join(PACKAGES)}"
    if (ETC / "slurm.conf").exists() and linked() is None:
        return f"{ETC} holds a configuration of this machine's own"
    return None


def install() -> None:
    """Install what is lacking of Slurm, munge, MariaDB and Environment Modules."""
    if all(shutil.which(program) for program in PROGRAMS):
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment, stdout=subprocess.DEVNULL)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def linked() -> "Cluster | None":
    """The cluster of ours that this machine's configuration points to, alive or not."""
    link = ETC / "slurm.conf"
    root = link.resolve().parent
    return Cluster(root) if link.is_symlink() and root.name.startswith(PREFIX) else None


def running() -> "Cluster | None":
    """The cluster that was started here before and answers, if there is one."""
    cluster = linked()
    return cluster if cluster and shutil.which("scontrol") and "is UP" in _output("scontrol", "ping") else None


@contextmanager
def started() -> Iterator["Cluster"]:
    """A cluster, stopped in the end. Whatever a killed run left of another is stopped first."""
    install()
    remains = linked()
    if remains:
        remains.stop()
        shutil.rmtree(remains.root, ignore_errors=True)
    # Not in TMPDIR: munge and the database want a path that every user may enter.
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir="/tmp") as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


class Cluster:
    """Its folder holds configuration, state and logs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def start(self) -> None:
        """Start everything and wait for four idle nodes."""
        self.root.chmod(0o755)
        for folder in ("log", "state", "munge", "database", "devices", *(f"spool/{node}" for node in NODES)):
            (self.root / folder).mkdir(parents=True)
        self._link_configuration()
        for number in range(4):
            # Slurm asks only that a GPU's device exists: these are /dev/null.
            os.mknod(self.root / f"devices/nvidia{number}", 0o020666, os.makedev(1, 3))
        self._start_munge()
        self._start_database()
        self._start("slurmdbd")
        self._wait(lambda: _answers("sacctmgr", "-n", "list", "cluster"), "slurmdbd")
        for words in (
            ("cluster", "msdiff"),
            ("account", "msdiff", "Cluster=msdiff"),
            ("user", "root", "Account=msdiff", "DefaultAccount=msdiff", "AdminLevel=Admin"),
        ):
            self._start("sacctmgr", "-i", "add", *words)
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self._wait(lambda: self.nodes("idle") == set(NODES), "four idle nodes")

    def stop(self) -> None:
        """Cancel what runs, stop what was started, and remove the links."""
        if running():
            subprocess.run(["scancel", "--user", "root"], capture_output=True, check=False)
            # A node that is stopped first would leave its jobs running.
            with suppress(NotStarted):
                self._wait(lambda: not _output("squeue", "--noheader"), "empty queue")
        for pid_file in (
            *sorted(self.root.glob("slurmd-*.pid")),
            self.root / "slurmctld.pid",
            self.root / "slurmdbd.pid",
            self.root / "database/mariadbd.pid",
            self.root / "munge/munged.pid",
        ):
            _stop(pid_file)
        _end_leavings()
        for template in TEMPLATES.iterdir():
            link = ETC / template.name
            if link.is_symlink() and link.readlink().parent == self.root:
                link.unlink()

    def start_controller(self) -> None:
        """Start slurmctld and wait until it answers."""
        self._start("slurmctld")
        self._wait(lambda: "is UP" in _output("scontrol", "ping"), "slurmctld")

    def stop_controller(self) -> None:
        """Stop slurmctld; jobs run on."""
        _stop(self.root / "slurmctld.pid")

    def start_node(self, node: str) -> None:
        """Start a node's slurmd."""
        self._start("slurmd", "-N", node)

    def stop_node(self, node: str) -> None:
        """Stop a node's slurmd; jobs run on."""
        _stop(self.root / f"slurmd-{node}.pid")

    def nodes(self, state: str) -> set[str]:
        """The nodes in a state as sinfo names it (idle, alloc, mix, down)."""
        rows = [line.split() for line in _output("sinfo", "-h", "-N", "-o", "%N %t").splitlines()]
        return {row[0] for row in rows if row[1] == state}

    def _link_configuration(self) -> None:
        ETC.mkdir(exist_ok=True)
        for template in TEMPLATES.iterdir():
            text = template.read_text().replace("{root}", str(self.root)).replace("{host}", socket.gethostname())
            path = self.root / template.name
            # slurmdbd refuses a file with a password that others may read.
            path.touch(0o600 if template.name == "slurmdbd.conf" else 0o644)
            path.write_text(text)
            (ETC / template.name).unlink(missing_ok=True)
            (ETC / template.name).symlink_to(path)

    def _start_munge(self) -> None:
        folder = self.root / "munge"
        key = folder / "munge.key"
        key.touch(0o400)
        key.write_bytes(os.urandom(128))
        files = [f"--socket={folder}/munge.socket"]
        files += [f"--{name}-file={folder}/munged.{name}" for name in ("pid", "log", "seed")]
        self._start("munged", f"--key-file={key}", *files)

    def _start_database(self) -> None:
        folder = self.root / "database"
        shutil.chown(folder, "mysql", "mysql")
        place = ("--no-defaults", "--user=mysql", f"--datadir={folder}")
        self._start("mariadb-install-db", *place, "--auth-root-authentication-method=normal", "--skip-test-db")
        socket_file = f"--socket={folder}/mariadbd.sock"
        options = [socket_file, f"--pid-file={folder}/mariadbd.pid", "--port=3307", "--bind-address=127.0.0.1"]
        # What slurmdbd asks for.
        options += ["--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900"]
        # The only one of the daemons that does not leave the foreground by itself.
        self._start("setsid", "--fork", "mariadbd", *place, *options)
        client = ["--no-defaults", "--user=root", socket_file]
        self._wait(lambda: _answers("mariadb-admin", *client, "ping"), "mariadbd")
        statements = ["CREATE DATABASE slurm"]
        for host in ("127.0.0.1", "localhost"):
            statements += [f"CREATE USER 'slurm'@'{host}' IDENTIFIED BY 'slurm'"]
            statements += [f"GRANT ALL ON slurm.* TO 'slurm'@'{host}'"]
        self._start("mariadb", *client, "--execute", "; ".join(statements))

    def _start(self, *command: str) -> None:
        """Run a command, or start a daemon, which leaves the foreground; what they say is kept."""
        with (self.root / "log/start.log").open("ab") as log:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
        if done.returncode != 0:
            raise NotStarted(f"{' '.join(command)}: exit code {done.returncode}\n{self._last_words()}")

    def _wait(self, holds: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + SECONDS
        while not holds():
            if time.monotonic() > end:
                raise NotStarted(f"{what}: none after {SECONDS:.0f} s\n{self._last_words()}")
            time.sleep(0.1)

    def _last_words(self) -> str:
        """The last lines of every log."""
        logs = [*sorted((self.root / "log").glob("*.log")), self.root / "munge/munged.log"]
        ends = [(log.name, log.read_text(errors="replace").splitlines()[-5:]) for log in logs if log.exists()]
        return "\n".join(f"{name}: {line}" for name, lines in ends for line in lines)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _answers(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _end_leavings() -> None:
    """End processes of jobs that Slurm has lost sight of: without cgroups, those of a node that was set down."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if b"SLURM_CLUSTER_NAME=msdiff" in environment.read_bytes().split(b"\0"):
                os.kill(int(environment.parent.name), signal.SIGKILL)


def _stop(pid_file: Path) -> None:
    """End a daemon, kindly for ten seconds."""
    program = pid_file.stem.partition("-")[0]
    try:
        pid = int(pid_file.read_text())
    except (FileNotFoundError, ValueError):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        if _is_alive(pid, program):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        end = time.monotonic() + 10
        while _is_alive(pid, program) and time.monotonic() < end:
            time.sleep(0.05)


def _is_alive(pid: int, program: str) -> bool:
    """Whether the process is there and still that program: an old file may name a number that another has got."""
    try:
        return program.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def main() -> None:
    """Start a cluster and keep it until a signal comes."""
    reason = missing()
    if reason or running():
        sys.exit(f"no cluster started: {reason or 'one is running'}")
    # As an exception each ends the `with`, which stops the cluster; and a signal during the start does, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    with suppress(KeyboardInterrupt), started():
        sys.stdout.write(f"started in {time.monotonic() - began:.1f} s; Ctrl-C stops it\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
