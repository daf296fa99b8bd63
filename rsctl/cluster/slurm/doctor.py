"""The SLURM part of `rsctl doctor`."""

from __future__ import annotations

import json
import math
import secrets
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from rsctl.cluster.slurm.arrays import explain_refusal, partition_of
from rsctl.cluster.slurm.commands import Partition, limits, partitions, read_queue, run_command
from rsctl.cluster.slurm.limits import room_for
from rsctl.cluster.slurm.script import SETUP_FAILED, watched
from rsctl.config.settings import Place, SlurmProfile
from rsctl.errors import UnavailableError, UserError
from rsctl.store.files import replace

Finding = tuple[bool, str, str]
_NEEDED = "torch torchvision accelerate sklearn numpy scipy h5py pydantic tomli submitit"
_PATIENCE = 20
"""Seconds to wait for a free node."""
_PROBE = f"""
import importlib.util, json, os, pathlib, socket, sys
here = pathlib.Path(sys.argv[1])
print(json.dumps({{
    "node": socket.gethostname(), "read": here.joinpath("from-login").read_text(),
    "missing": [name for name in sys.argv[2:] if importlib.util.find_spec(name) is None],
    "failed": os.environ.get("{SETUP_FAILED}", ""),
}}))
here.joinpath("from-node").write_text("node")
"""


def examine_slurm(place: Place) -> Iterator[Finding]:
    """Check version, limits, queue and partitions of the cluster, then each profile with a short job on one node."""
    named = {
        name: profile
        for name, profile in place.settings.profiles.items()
        if isinstance(profile, SlurmProfile)
    }
    if shutil.which("squeue") is None:
        if named:
            absent = "no SLURM commands on this machine's PATH, though rsctl.toml has the profiles"
            yield False, "slurm", f"{absent} {', '.join(named)}"
        return
    try:
        cluster = limits()
        known = partitions()
        view = read_queue()
    except UnavailableError as error:
        idle = "its commands are installed, but no cluster answers; tasks run on this machine"
        yield (False, "slurm", str(error)) if named else (True, "slurm", idle)
        return
    accounting = "with accounting" if cluster.accounting else "without accounting (not required)"
    about = (
        f"{cluster.cluster}, version {cluster.version}, {accounting}, arrays up to {cluster.longest_array}"
    )
    yield True, "slurm", about
    rows = f"{len(view.rows)} of your tasks, {view.unreadable} unreadable rows"
    yield not view.unreadable, "slurm queue", rows
    listed = ", ".join(f"{p.name}{'*' if p.default else ''}" for p in known.values())
    yield bool(known), "slurm partitions", listed or "(none)"
    for name, profile in (named or {"slurm": SlurmProfile()}).items():
        what = f"profile {name}"
        try:
            partition = partition_of(name, profile, known)
            refused = _refused(name, profile, partition)
            ok, text = (False, refused) if refused else _on_a_node(place.store, profile, partition.name)
            yield ok, what, text
            room = room_for(profile, partition, cluster, view)
            yield room.jobs > 0, f"{what}, room", f"for {room.jobs:g} more tasks: {room.why}"
        except UserError as error:
            yield False, what, str(error)


def _refused(name: str, profile: SlurmProfile, partition: Partition) -> str:
    """Return the reason why sbatch would refuse a job of this profile, or empty. Nothing is submitted."""
    options: dict[str, object] = {
        **_own_options(profile),
        "gpus-per-node": 1 if partition.gpus and not profile.gres else None,
        "time": profile.minutes,
        "mem": f"{math.ceil(profile.memory_gb * 1024)}M" if profile.memory_gb else None,
        **profile.extra,
    }
    flags = [f"--{key}" if value is True else f"--{key}={value}" for key, value in options.items() if value]
    try:
        run_command("sbatch", "--test-only", *flags, "--chdir=/", "--wrap=true")
    except UnavailableError as error:
        return explain_refusal(str(error).removeprefix("sbatch: "), name)
    return ""


def _own_options(profile: SlurmProfile) -> dict[str, str | None]:
    """Options of both sbatch and srun that a profile names as they do."""
    return {key: getattr(profile, key) for key in ("partition", "account", "qos", "constraint", "gres")}


def _on_a_node(store: Path, profile: SlurmProfile, partition: str) -> tuple[bool, str]:
    """Check that a node can read and write the store and has the packages."""
    folder = store / f"doctor-{secrets.token_hex(4)}"
    options = {
        **_own_options(profile),
        "partition": partition,
        **{key: profile.extra.get(key) for key in ("nodelist", "exclude", "reservation")},
    }
    flags = [f"--{key}={value}" for key, value in options.items() if value]
    python = profile.python or shlex.quote(sys.executable)
    line = f"exec {python} -c {shlex.quote(_PROBE)} {shlex.quote(str(folder))} {_NEEDED}"
    # A task continues after a failed setup line; here such lines are reported.
    lines = [
        "exec 3>&1 >&2",
        *watched(profile.setup, shlex.quote(str(folder / "setup"))),
        "exec >&3 3>&-",
    ]
    script = "\n".join([*lines, line])
    replace(folder / "from-login", b"login")
    try:
        output = run_command(
            "srun", f"--immediate={_PATIENCE}", "--ntasks=1", "--time=2", "--chdir=/", *flags, "bash", "-c", script,
            timeout=_PATIENCE + 100,
        )  # fmt: skip
        report = json.loads(output.strip().splitlines()[-1])
        if not (folder / "from-node").exists():
            return False, f"a file that node {report['node']} writes to {store} isn't visible here"
        if report["missing"]:
            return False, f"Python on {report['node']} ({python}) lacks {', '.join(report['missing'])}"
        if report["failed"]:
            return (
                False,
                f"setup: {report['failed']} fails on {report['node']}; tasks would continue without it",
            )
        return True, f"{report['node']} in '{partition}' reads and writes the store and has the packages"
    except UnavailableError as error:
        if "busy" in str(error) or "immediate" in str(error).lower():
            return True, f"no free node in '{partition}' within {_PATIENCE} s, so nothing was tested there"
        if "FileNotFoundError" in str(error) or "No such file" in str(error):
            return False, f"a node in '{partition}' can't see {store} or run {python}: {str(error)[-300:]}"
        return False, str(error)[-400:]
    except (ValueError, IndexError, KeyError):
        return False, f"a node in '{partition}' gave an unexpected answer: {output[-200:]!r}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
