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
from collections.abc import Callable
from pathlib import Path

TEMPLATES = Path(__file__).parent / "conf"
ETC = Path("/etc/slurm")
PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "sbatch", "sacct", "munged", "mariadbd")
PACKAGES = ("slurm-wlm", "slurmdbd", "munge", "mariadb-server")
NODES = ("gpu1", "gpu2", "cpu1", "cpu2")
SECONDS = 30.0


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    if os.geteuid() != 0:
        return "a Slurm cluster is started by root only"
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    if lacking and shutil.which("apt-get") is None:
        return f"no {', '.join(lacking)}, and no apt-get to install {', '.join(PACKAGES)}"
    if (ETC / "slurm.conf").exists() and running() is None and not (ETC / "slurm.conf").is_symlink():
        return f"{ETC} holds a configuration of this machine's own"
    return None


def running() -> "Cluster | None":
    """The cluster that was started here before and answers, if there is one."""
    linked = ETC / "slurm.conf"
    if not linked.is_symlink() or shutil.which("scontrol") is None:
        return None
    answer = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, check=False)
    return Cluster(linked.resolve().parent) if "is UP" in answer.stdout else None


def install() -> None:
    """Install what is lacking of Slurm, munge and MariaDB; the packages start nothing by themselves."""
    if all(shutil.which(program) for program in PROGRAMS):
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment, stdout=subprocess.DEVNULL)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


class Cluster:
    """Its folder holds configuration, state and logs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def start(self) -> None:
        """Start everything and wait for four idle nodes."""
        for folder in ("log", "state", "munge", "database", "devices", *(f"spool/{node}" for node in NODES)):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        for template in TEMPLATES.iterdir():
            text = template.read_text().replace("{root}", str(self.root)).replace("{host}", socket.gethostname())
            (self.root / template.name).write_text(text)
            (self.root / template.name).chmod(0o600 if template.name == "slurmdbd.conf" else 0o644)
            ETC.mkdir(exist_ok=True)
            (ETC / template.name).unlink(missing_ok=True)
            (ETC / template.name).symlink_to(self.root / template.name)
        for number in range(4):
            os.mknod(self.root / f"devices/nvidia{number}", 0o020666, os.makedev(1, 3))
        self._start_munge()
        self._start_database()
        _run("slurmdbd")
        _wait(lambda: _answers("sacctmgr", "-n", "list", "cluster"), "slurmdbd")
        for words in (
            ("cluster", "msdiff"),
            ("account", "msdiff", "Cluster=msdiff"),
            ("user", "root", "Account=msdiff", "DefaultAccount=msdiff", "AdminLevel=Admin"),
        ):
            _run("sacctmgr", "-i", "add", *words)
        self.start_controller()
        for node in NODES:
            _run("slurmd", "-N", node)
        _wait(lambda: self.nodes("idle") == set(NODES), "four idle nodes")

    def stop(self) -> None:
        """Cancel what runs, stop what was started, and remove the links."""
        subprocess.run(["scancel", "--user", "root"], capture_output=True, check=False)
        for pid_file in (
            *sorted(self.root.glob("slurmd-*.pid")),
            self.root / "slurmctld.pid",
            self.root / "slurmdbd.pid",
            self.root / "database/mariadbd.pid",
            self.root / "munge/munged.pid",
        ):
            _stop(pid_file)
        for template in TEMPLATES.iterdir():
            if (ETC / template.name).resolve() == (self.root / template.name).resolve():
                (ETC / template.name).unlink(missing_ok=True)

    def start_controller(self) -> None:
        """Start slurmctld and wait until it answers."""
        _run("slurmctld")
        _wait(lambda: "is UP" in _output("scontrol", "ping"), "slurmctld")

    def stop_controller(self) -> None:
        """Stop slurmctld; jobs run on."""
        _stop(self.root / "slurmctld.pid")

    def nodes(self, state: str) -> set[str]:
        """The nodes in a state as sinfo names it (idle, alloc, mix, down)."""
        rows = [line.split() for line in _output("sinfo", "-h", "-N", "-o", "%N %t").splitlines()]
        return {row[0] for row in rows if row[1] == state}

    def _start_munge(self) -> None:
        folder = self.root / "munge"
        key = folder / "munge.key"
        key.touch(mode=0o400)
        key.write_bytes(os.urandom(128))
        files = [f"--socket={folder}/munge.socket"]
        files += [f"--{name}-file={folder}/munged.{name}" for name in ("pid", "log", "seed")]
        _run("munged", f"--key-file={key}", *files)

    def _start_database(self) -> None:
        folder = self.root / "database"
        shutil.chown(folder, "mysql", "mysql")
        socket_file = f"--socket={folder}/mariadbd.sock"
        _run(
            "mariadb-install-db",
            "--no-defaults",
            "--user=mysql",
            f"--datadir={folder}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )
        with (self.root / "log/mariadbd.log").open("wb") as log:
            subprocess.Popen(
                [
                    "mariadbd",
                    "--no-defaults",
                    "--user=mysql",
                    f"--datadir={folder}",
                    socket_file,
                    f"--pid-file={folder}/mariadbd.pid",
                    "--port=3307",
                    "--bind-address=127.0.0.1",
                    "--innodb-buffer-pool-size=64M",
                    "--innodb-lock-wait-timeout=900",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        client = ["--no-defaults", "--user=root", socket_file]
        _wait(lambda: _answers("mariadb-admin", *client, "ping"), "mariadbd")
        statements = ["CREATE DATABASE slurm"]
        for host in ("127.0.0.1", "localhost"):
            statements += [f"CREATE USER 'slurm'@'{host}' IDENTIFIED BY 'slurm'"]
            statements += [f"GRANT ALL ON slurm.* TO 'slurm'@'{host}'"]
        _run("mariadb", *client, "--execute", "; ".join(statements))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stdout}{done.stderr}")


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _answers(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _wait(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: none after {SECONDS:.0f} s")
        time.sleep(0.1)


def _stop(pid_file: Path) -> None:
    """End a daemon, kindly for ten seconds."""
    try:
        pid = int(pid_file.read_text())
    except (FileNotFoundError, ValueError):
        return
    for number, seconds in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 2.0)):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                os.kill(pid, number if end - time.monotonic() > seconds - 0.05 else 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)


def main() -> None:
    """Start a cluster and keep it until a signal comes."""
    reason = missing()
    if reason:
        sys.exit(f"no cluster: {reason}")
    install()
    with tempfile.TemporaryDirectory(prefix="msdiff-slurm-") as folder:
        cluster = Cluster(Path(folder))
        Path(folder).chmod(0o755)
        began = time.monotonic()
        try:
            cluster.start()
            sys.stdout.write(f"started in {time.monotonic() - began:.1f} s; Ctrl-C stops it\n")
            sys.stdout.flush()
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
