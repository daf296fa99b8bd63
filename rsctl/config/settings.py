"""rsctl.toml: profiles, store root, data root, plugins; environment variables override."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from rsctl.catalog import use_plugins
from rsctl.catalog.declare import Parameters
from rsctl.config.names import SafeName
from rsctl.config.remotes import Remote
from rsctl.config.toml_file import read_toml
from rsctl.config.validate import Invalid, Problem, check
from rsctl.errors import InputError, unknown
from rsctl.owners import is_mine, share_with_group
from rsctl.plain import printable


class SharedStore(Parameters):
    """Store settings that all profiles have."""

    store_mode: Literal["private", "group"] = "private"
    """Owners whose files in the store are run or loaded. `private`: yours alone. `group`: also those of the store's group."""

    @property
    def of_group(self) -> bool:
        return self.store_mode == "group"


class LocalProfile(SharedStore):
    """`[profiles.NAME]` with `backend = "local"`: this machine."""

    backend: Literal["local"] = "local"
    """`local`: a small detached queue on this machine."""
    cpus: Annotated[int, Field(ge=1)] | None = None
    """CPU threads in use at once; by default all that this process may use."""
    gpus: Annotated[int, Field(ge=0)] | None = None
    """GPUs to use; by default those that nvidia-smi (or CUDA_VISIBLE_DEVICES) lists."""
    attempts: Annotated[int, Field(ge=1)] = 3
    """Attempts at a task that exits with no recorded error and no progress, before it counts as failed."""


_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_OURS = {
    "array",
    "chdir",
    "comment",
    "dependency",
    "error",
    "kill-on-invalid-dep",
    "open-mode",
    "output",
    "requeue",
    "signal",
    "wrap",
}


class SlurmProfile(SharedStore):
    """`[profiles.NAME]` with `backend = "slurm"`: a SLURM cluster. Unset keys take the cluster's defaults."""

    backend: Literal["slurm"] = "slurm"
    """`slurm`: job arrays, through sbatch."""
    partition: str | None = None
    """Partition (queue)."""
    account: str | None = None
    """Account to charge."""
    qos: str | None = None
    """Quality of service."""
    gres: str | None = None
    """Generic resources per node as sbatch takes them, such as "gpu:a100:1", for tasks with `gpus = "auto"`."""
    constraint: str | None = None
    """Node features required (sbatch --constraint)."""
    minutes: Annotated[int, Field(ge=1)] | None = None
    """Default time limit of a task in minutes; the sweep's `resources` override it."""
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Default memory of a task per node in GB; the sweep's `resources` override it."""
    setup: list[str] = []
    """Shell lines run before each task, such as "module load cuda"."""
    python: str | None = None
    """Python on the nodes, with rsctl's requirements installed; by default the one running rsctl."""
    staging: str | None = None
    """Folder on the node's local disk, such as "$TMPDIR/rsctl-data", to which the data set is copied first."""
    array_parallelism: Annotated[int, Field(ge=1)] = 256
    """Tasks of one job array that may run at once."""
    warning_seconds: Annotated[int, Field(ge=1)] = 90
    """Seconds before its time limit at which a task writes a snapshot and requeues itself."""
    snapshot_seconds: Annotated[float, Field(gt=0)] = 30.0
    """Seconds of work that a kill without warning may lose."""
    attempts: Annotated[int, Field(ge=1)] = 3
    """Requeues of a task without progress before it counts as failed."""
    poll_seconds: Annotated[float, Field(ge=1)] = 10.0
    """Least seconds between two queries of the scheduler's queue, for all tasks together."""
    extra: dict[str, str | int | bool] = {}
    """Further sbatch options by long name, such as { mail-type = "END", exclusive = true }."""

    @field_validator("*")
    @classmethod
    def _one_line(cls, value: Any) -> Any:
        """Each becomes part of a batch script, in which a second line would be a command or an option of its own."""
        several = [*value, *value.values()] if isinstance(value, dict) else value
        parts = several if isinstance(several, list) else [several]
        texts = [part.replace("\t", " ") for part in parts if isinstance(part, str)]
        if any(printable(text) != text for text in texts):
            raise ValueError("must be one line without control characters (of setup, each entry)")
        return value

    @field_validator("extra")
    @classmethod
    def _not_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        if wrong := [key for key in value if not _OPTION.fullmatch(key)]:
            raise ValueError(f"'{wrong[0]}' is not the long name of an sbatch option, such as mail-type")
        if taken := sorted(key for key in value if key.lower().replace("_", "-") in _OURS):
            raise ValueError(f"{', '.join(taken)}: rsctl sets these sbatch options itself. Remove them")
        if taken := sorted({"cluster", "clusters", "M"} & value.keys()):
            raise ValueError(
                f"{', '.join(taken)}: rsctl uses one cluster at a time, that of SLURM_CONF. "
                "For another one, run rsctl on its login node, or set its SLURM_CONF"
            )
        return value


Profile = LocalProfile | SlurmProfile
BACKENDS: dict[str, type[LocalProfile] | type[SlurmProfile]] = {"local": LocalProfile, "slurm": SlurmProfile}


class Settings(Parameters):
    """rsctl.toml."""

    store: str = "runs"
    """Folder of all results, relative to rsctl.toml. `RSCTL_STORE` overrides it."""
    data: str = "~/.cache/rsctl/data"
    """Folder of the data sets. `RSCTL_DATA` overrides it."""
    plugins: list[str] = []
    """Importable packages with further methods, models, data sets, certificates, verifiers, attacks or measurements. `RSCTL_PLUGINS`
    adds to them, names separated by commas."""
    store_mode: Literal["private", "group"] = "private"
    """`store_mode` of the profiles that don't set their own: `group` where a group shares the store."""
    notify: Literal["desktop", "bell", "off"] = "desktop"
    """Notification when a sweep ends in the dashboard: `desktop` (with the terminal's bell), `bell` alone, or `off`."""
    mirror: Literal["off", "tensorboard", "wandb", "mlflow"] = "off"
    """Tool into whose files training curves are mirrored while a sweep is watched (`rsctl help results`), or `off`."""
    profiles: dict[SafeName, LocalProfile | SlurmProfile] = {}
    """Execution profiles by name; `local` and `slurm` always exist."""
    remotes: dict[SafeName, Remote] = {}
    """Other machines by name, for `rsctl --at NAME`, `rsctl pull` and `rsctl remote`."""

    @property
    def everywhere(self) -> dict[str, Profile]:
        """Every profile by name, with the two that need no rsctl.toml."""
        mode = self.model_dump(include={"store_mode"}, exclude_unset=True)
        return {"local": LocalProfile(**mode), "slurm": SlurmProfile(**mode), **self.profiles}

    @property
    def of_group(self) -> bool:
        return any(profile.of_group for profile in self.everywhere.values())

    def profile(self, name: str) -> Profile:
        everything = self.everywhere
        if name not in everything:
            raise InputError(
                f"cluster: {unknown('profile', name, everything)} Add [profiles.{name}] to rsctl.toml."
            )
        return everything[name]

    def remote(self, name: str) -> Remote:
        if name not in self.remotes:
            known = unknown("remote", name, self.remotes)
            raise InputError(
                f"{known} Add [remotes.{name}] with its host to rsctl.toml; 'rsctl help remotes' has an example."
            )
        return self.remotes[name]

    def local(self, name: str = "local") -> LocalProfile:
        """A profile of this machine; the default one if the name belongs to a cluster."""
        profile = self.everywhere.get(name)
        return profile if isinstance(profile, LocalProfile) else LocalProfile(store_mode=self.store_mode)


class Place(Parameters):
    """The settings in force, with absolute paths."""

    settings: Settings
    file: Path | None
    store: Path
    data: Path


def find_settings() -> Path | None:
    """`RSCTL_CONFIG`, else rsctl.toml in the working folder, else the user's, else none."""
    named = os.environ.get("RSCTL_CONFIG")
    if named:
        return Path(named)
    own = Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")) / "rsctl" / "rsctl.toml"
    return next((path for path in (Path("rsctl.toml"), own) if path.is_file()), None)


def _check_trust(file: Path, raw: dict[str, Any]) -> None:
    """Refuse to run commands from another user's rsctl.toml in the current folder."""
    if os.environ.get("RSCTL_CONFIG") or is_mine(file):
        return
    profiles = raw.get("profiles")
    tables = [raw, *(profiles.values() if isinstance(profiles, dict) else ())]
    if commands := [
        key for table in tables for key in ("plugins", "remotes", "setup", "python") if key in table
    ]:
        raise InputError(
            f"{file.absolute()}: belongs to another user, and its '{commands[0]}' would run code as you. Read it; if you trust "
            f"it, set RSCTL_CONFIG={file.absolute()}, else change to another folder."
        )


def load_settings() -> Place:
    """Read the settings in force and make the plugins known."""
    file = find_settings()
    raw = read_toml(file) if file else {}
    if file:
        _check_trust(file, raw)
    problems: list[Problem] = []
    profiles = _profiles(raw.pop("profiles", {}), problems, raw.get("store_mode", "private"))
    settings = check(Settings, {**raw, "profiles": profiles}, "", problems)
    if settings is None or problems:
        raise Invalid(str(file), problems)
    further = [name for name in os.environ.get("RSCTL_PLUGINS", "").split(",") if name]
    settings = settings.model_copy(update={"plugins": list(dict.fromkeys([*settings.plugins, *further]))})
    use_plugins(settings.plugins)
    share_with_group(settings.of_group)
    base = file.resolve().parent if file else Path.cwd()
    store = os.environ.get("RSCTL_STORE") or base / os.path.expanduser(settings.store)
    data = os.environ.get("RSCTL_DATA") or base / os.path.expanduser(settings.data)
    for key, path in (("store", store), ("data", data)):
        if printable(str(path)) != str(path):
            raise InputError(
                f"{key}: '{path}' contains control characters, which a batch script can't hold. Rename it."
            )
    return Place(settings=settings, file=file, store=Path(store).absolute(), data=Path(data).absolute())


def _only_of_slurm(table: dict[str, Any]) -> list[str]:
    return [key for key in table if key in SlurmProfile.model_fields and key not in LocalProfile.model_fields]


def _profiles(tables: Any, problems: list[Problem], store_mode: Any) -> dict[str, Profile]:
    """`[profiles.NAME]` tables, each by the fields of its own backend; `store_mode` is that of those without their own."""
    if not isinstance(tables, dict):
        problems.append(Problem("profiles", f"must be tables, such as [profiles.gpu]; it is {tables!r}."))
        return {}
    found: dict[str, Profile] = {}
    for name, table in tables.items():
        backend = table.get("backend", "local") if isinstance(table, dict) else None
        if not isinstance(table, dict):
            problems.append(Problem(f"profiles.{name}", f"must be a table; it is {table!r}."))
        elif "backend" not in table and (clusters := _only_of_slurm(table)):
            text = f'is required: set backend = "slurm"; a local profile has no {clusters[0]}.'
            problems.append(Problem(f"profiles.{name}.backend", text))
        elif backend not in BACKENDS:
            problems.append(Problem(f"profiles.{name}.backend", unknown("backend", str(backend), BACKENDS)))
        elif name == "local" and backend != "local":
            text = "is reserved for this machine; give a cluster's profile another name."
            problems.append(Problem("profiles.local.backend", text))
        else:
            model: type[Any] = BACKENDS[backend]
            mode = {"store_mode": "group"} if store_mode == "group" else {}
            profile = check(model, {**mode, **table}, f"profiles.{name}", problems)
            if profile is not None:
                found[name] = profile
    return found
