"""A private SLURM cluster on one machine, from the distribution's own packages.

Everything listens on loopback and lies below one folder; nothing of the system's configuration is read or
written. Five nodes that claim more CPUs than the machine has, two of them with fake GPUs, and a partition
whose jobs are pre-empted by the others'.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo", "sdiag")
ACCOUNTING_PROGRAMS = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db")
NODES = ("cpu1", "cpu2", "cpu3", "gpu1", "gpu2")
_PORTS = 20
FAKE_JOBS = Path(__file__).parent / "fake"
"""A data plane without torch, to be put on PYTHONPATH."""


def missing_programs(accounting: bool) -> list[str]:
    """What has to be installed before a cluster can start: slurm-wlm, munge; slurmdbd, mariadb-server."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    wanted = PROGRAMS + (ACCOUNTING_PROGRAMS if accounting else ())
    return [name for name in wanted if shutil.which(name, path=path) is None]


class Cluster:
    """One running cluster; `environment` is what its users need to have."""

    def __init__(
        self,
        root: Path,
        *,
        accounting: bool = False,
        name: str = "test",
        max_array_size: int = 1001,
        grace: int = 5,
        remember: int = 3600,
        memory_kill: bool = False,
    ) -> None:
        self.root, self.accounting, self.name = root, accounting, name
        self.max_array_size, self.grace, self.remember = max_array_size, grace, remember
        self.memory_kill = memory_kill
        self.user = getpass.getuser()
        self.host = socket.gethostname().split(".")[0]
        self.port = free_ports(_PORTS)
        self.conf = root / "etc" / "slurm.conf"
        self.environment = {
            "SLURM_CONF": str(self.conf),
            "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin",
        }

    # Starting and stopping

    def start(self) -> None:
        """Bring everything up; returns when all nodes are idle."""
        for folder in ("etc", "log", "pid", "spool", "state", "munge", "db", "dev"):
            (self.root / folder).mkdir(parents=True)
        self._write_configuration()
        self._start_munge()
        if self.accounting:
            self._start_accounting()
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self.wait_until(lambda: self._node_states() == ["idle"] * len(NODES), "all nodes are idle")

    def start_controller(self) -> None:
        self._run("slurmctld")
        self.wait_until(lambda: "is UP" in self.query("scontrol", "ping"), "the controller answers")

    def stop_controller(self) -> None:
        """Stop slurmctld as an administrator would; its state is saved."""
        self._end(self.root / "pid" / "slurmctld.pid", signal.SIGTERM)

    def start_node(self, node: str) -> None:
        self._run("slurmd", "-N", node)

    def start_blind_node(self, node: str, folder: Path) -> None:
        """A node that sees an empty folder in the place of this one, as where the store isn't shared."""
        self._run("unshare", "-m", "sh", "-c", f"mount -t tmpfs none '{folder}' && exec slurmd -N {node}")

    def kill_node(self, node: str, *, whole: bool = True) -> None:
        """Pull the plug: slurmd, its step daemons and every process of its jobs are gone at once.

        Without `whole` only slurmd dies: the controller loses the node, but its jobs go on.
        """
        doomed = [int((self.root / "pid" / f"slurmd-{node}.pid").read_text())]
        for pid, environment in self._own_processes() if whole else ():
            if f"SLURMD_NODENAME={node}" in environment:
                doomed.append(pid)
                parent = _parent(pid)
                if _command(parent) == "slurmstepd":
                    doomed.append(parent)
        for pid in doomed:
            _kill(pid)

    def stop(self) -> None:
        """End every process that belongs to this cluster and to no other; its state is thrown away."""
        files = sorted((self.root / "pid").glob("*.pid"))
        for file in files:
            self._end(file, signal.SIGKILL)
        for pid, environment in self._own_processes():
            if _command(pid).startswith("slurmstepd") or any(
                e.startswith("SLURM_JOB_ID=") for e in environment
            ):
                _kill(pid)

    # Asking

    def query(self, *command: str, check: bool = False) -> str:
        """The stdout of a SLURM command on this cluster."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=60
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout.strip()

    def queue(self) -> dict[str, str]:
        """Job (or array task) → state, of everything the controller remembers."""
        rows = self.query("squeue", "-r", "-h", "--states=all", "-o", "%i %T").splitlines()
        return dict(row.split() for row in rows)

    def queue_of(self, store: Path) -> list[str]:
        """The jobs and array tasks that a store's submissions made, of all that the controller remembers."""
        ours = {f"rsctl:{folder.name}" for folder in (store / "submissions").iterdir()}
        rows = self.query("squeue", "-r", "-h", "--states=all", "-o", "%i %k").splitlines()
        return [row.split()[0] for row in rows if row.split()[1] in ours]

    def requests(self, kind: str = "REQUEST_JOB_INFO") -> int:
        """How many requests of a kind the controller has served, by `sdiag`."""
        for line in self.query("sdiag", check=True).splitlines():
            if line.strip().startswith(f"{kind} "):
                return int(line.split("count:")[1].split()[0])
        return 0

    def wait_until(self, holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                log = (self.root / "log" / "slurmctld.log").read_text()[-3000:]
                raise TimeoutError(f"{what}: not within {seconds:.0f} s\n{self.query('sinfo')}\n{log}")
            time.sleep(0.05)

    def _node_states(self) -> list[str]:
        return self.query("sinfo", "-h", "-N", "-p", "preempt", "-o", "%T").splitlines()

    # Parts

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")

    def _start_munge(self) -> None:
        folder = self.root / "munge"
        folder.chmod(0o755)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self._run(
            "munged", f"--key-file={key}", f"--socket={folder}/munge.sock",
            f"--pid-file={self.root}/pid/munged.pid", f"--seed-file={folder}/munge.seed",
            f"--log-file={self.root}/log/munged.log", "--num-threads=4", "--force",
        )  # fmt: skip

    def _start_accounting(self) -> None:
        data, log = self.root / "db" / "data", self.root / "log"
        common = ["--no-defaults", f"--user={self.user}", f"--datadir={data}", "--innodb-log-file-size=16M"]
        self._run("mariadb-install-db", *common, "--auth-root-authentication-method=normal", "--skip-test-db")
        with open(log / "mariadbd.log", "ab") as output:
            subprocess.Popen(
                ["mariadbd", *common, f"--socket={self.root}/db/sock", f"--pid-file={self.root}/pid/mariadbd.pid",
                 "--bind-address=127.0.0.1", f"--port={self.port + 3}", "--skip-name-resolve", "--skip-log-bin",
                 "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0",
                 "--innodb-flush-method=nosync", "--performance-schema=OFF", "--innodb-lock-wait-timeout=900"],
                env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        client = ["mariadb", "--no-defaults", "-uroot", "-S", f"{self.root}/db/sock", "-e"]
        self.wait_until(lambda: self.query(*client, "select 1") != "", "the data base answers")
        self._run(
            *client,
            "create user slurm@'127.0.0.1' identified by 'slurm'; grant all on slurm_acct_db.* to slurm@'127.0.0.1';",
        )
        self._run("slurmdbd")
        self.wait_until(lambda: self._quiet("sacctmgr", "-n", "show", "cluster"), "slurmdbd answers")
        self._run("sacctmgr", "-i", "add", "cluster", self.name)
        self._run("sacctmgr", "-i", "add", "account", "lab", f"Cluster={self.name}")
        self._run("sacctmgr", "-i", "add", "user", self.user, "Account=lab", "DefaultAccount=lab")

    def _quiet(self, *command: str) -> bool:
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, timeout=60
        )
        return done.returncode == 0

    def _write_configuration(self) -> None:
        root, port = self.root, self.port
        for i in range(2):
            (root / "dev" / f"nvidia{i}").symlink_to("/dev/null")  # slurmd only asks whether it is there
        nodes = []
        for i, node in enumerate(NODES):
            gpu = " Gres=gpu:fake:2 Feature=fakegpu" if node.startswith("gpu") else ""
            nodes.append(
                f"NodeName={node} NodeHostname={self.host} NodeAddr=127.0.0.1 Port={port + 11 + i} "
                f"CPUs=8 RealMemory=16000{gpu} State=UNKNOWN"
            )
        socket_file = f"{root}/munge/munge.sock"
        accounting = (
            f"AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1\n"
            f"AccountingStoragePort={port + 2}\nAccountingStoragePass={socket_file}\nAccountingStorageTRES=gres/gpu\nAccountingStorageEnforce=limits,qos"
            if self.accounting
            else "AccountingStorageType=accounting_storage/none"
        )
        # cred_expire is also how long a requeued job waits; it must exceed the time a killed step needs to die.
        self.conf.write_text(f"""\
ClusterName={self.name}
SlurmctldHost={self.host}(127.0.0.1)
SlurmUser={self.user}
SlurmdUser={self.user}
SlurmctldPort={port}
SlurmdPort={port + 1}
AuthType=auth/munge
AuthInfo=socket={socket_file},cred_expire=10
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/pid/slurmctld.pid
SlurmdPidFile={root}/pid/slurmd-%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task={1 if self.memory_kill else 5}
{"JobAcctGatherParams=OverMemoryKill" if self.memory_kill else ""}
SwitchType=switch/none
MpiDefault=none
{accounting}
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
GresTypes=gpu
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2,bf_min_age_reserve=0,default_queue_depth=1000
SlurmctldParameters=preempt_send_user_signal
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
MaxArraySize={self.max_array_size}
MaxJobCount=20000
MinJobAge={self.remember}
InactiveLimit=0
KillWait=2
OverTimeLimit=0
CompleteWait=0
UnkillableStepTimeout=20
WaitTime=0
MessageTimeout=5
BatchStartTimeout=10
TCPTimeout=2
EpilogMsgTime=0
SlurmctldTimeout=30
SlurmdTimeout=10
{chr(10).join(nodes)}
PartitionName=cpu Nodes=cpu[1-3] Default=YES MaxTime=INFINITE DefaultTime=60 PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=gpu Nodes=gpu[1-2] MaxTime=INFINITE DefaultTime=60 PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=short Nodes=cpu[1-3] MaxTime=5 DefaultTime=5 PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=preempt Nodes=ALL MaxTime=INFINITE DefaultTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime={self.grace} State=UP
""")
        gres = [
            f"NodeName={node} Name=gpu Type=fake File={root}/dev/nvidia[0-1]"
            for node in NODES
            if "gpu" in node
        ]
        (root / "etc" / "gres.conf").write_text("\n".join(gres) + "\n")
        if self.accounting:
            file = root / "etc" / "slurmdbd.conf"
            file.write_text(f"""\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port + 2}
CommunicationParameters=NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={socket_file}
SlurmUser={self.user}
PidFile={root}/pid/slurmdbd.pid
LogFile={root}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={port + 3}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
""")
            file.chmod(0o600)

    def _end(self, pid_file: Path, what: signal.Signals) -> None:
        try:
            pid = int(pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)
        for _ in range(200):
            if _state(pid) in ("", "Z"):
                break
            time.sleep(0.05)
        else:
            _kill(pid)
        pid_file.unlink(missing_ok=True)

    def _own_processes(self) -> Iterator[tuple[int, list[str]]]:
        """Processes whose environment names this cluster's configuration."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    environment = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
                except OSError:
                    continue
                if f"SLURM_CONF={self.conf}" in environment:
                    yield int(entry.name), environment


def free_ports(count: int) -> int:
    """The first of `count` consecutive ports that nobody listens on."""
    for _ in range(200):
        first = random.randrange(20000, 31000)
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise RuntimeError(f"no {count} free ports in a row")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
