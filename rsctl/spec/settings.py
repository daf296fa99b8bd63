"""rsctl.toml: profiles, store root, data root, plugins; environment variables override."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli
from pydantic import Field

from rsctl.catalog import use_plugins
from rsctl.catalog.declare import Parameters
from rsctl.errors import InputError, unknown
from rsctl.spec.names import SafeName
from rsctl.spec.validate import Invalid, Problem, check


class Profile(Parameters):
    """`[profiles.NAME]`: a place where tasks run."""

    backend: Literal["local"] = "local"
    """`local`: a small detached queue on this machine."""
    cpus: Annotated[int, Field(ge=1)] | None = None
    """CPU threads that may be in use at once; by default all that this process may use."""
    gpus: Annotated[int, Field(ge=0)] | None = None
    """GPUs to hand out; by default those that nvidia-smi (or CUDA_VISIBLE_DEVICES) shows."""
    attempts: Annotated[int, Field(ge=1)] = 3
    """How often a task that dies without a word and without progress is started again."""


class Settings(Parameters):
    """rsctl.toml."""

    store: str = "runs"
    """Folder of all results; a relative one is beside rsctl.toml. `RSCTL_STORE` overrides."""
    data: str = "~/.cache/rsctl/data"
    """Folder of the data sets. `RSCTL_DATA` overrides."""
    plugins: list[str] = []
    """Importable packages with further methods, models, data sets or certificates."""
    profiles: dict[SafeName, Profile] = {}
    """Where tasks can run, by name; `local` always exists."""

    def profile(self, name: str) -> Profile:
        everything = {"local": Profile(), **self.profiles}
        if name not in everything:
            raise InputError(
                f"cluster: {unknown('profile', name, everything)} Add [profiles.{name}] to rsctl.toml."
            )
        return everything[name]


class Place(Parameters):
    """The settings in force, with absolute paths."""

    settings: Settings
    file: Path | None
    store: Path
    data: Path


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict; every way it can fail is an InputError that names it."""
    try:
        return tomli.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder, not a TOML file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't be read: {error}.") from error
    except tomli.TOMLDecodeError as error:
        raise InputError(f"{path}: is not valid TOML: {error}.") from error


def find_settings() -> Path | None:
    """`RSCTL_CONFIG`, else rsctl.toml here, else the user's own, else none."""
    named = os.environ.get("RSCTL_CONFIG")
    if named:
        return Path(named)
    own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "rsctl" / "rsctl.toml"
    return next((path for path in (Path("rsctl.toml"), own) if path.is_file()), None)


def load_settings() -> Place:
    """Read the settings in force and make the plugins known."""
    file = find_settings()
    raw = read_toml(file) if file else {}
    problems: list[Problem] = []
    settings = check(Settings, raw, "", problems)
    if settings is None:
        raise Invalid(str(file), problems)
    use_plugins(settings.plugins)
    base = file.resolve().parent if file else Path.cwd()
    store = os.environ.get("RSCTL_STORE") or base / os.path.expanduser(settings.store)
    data = os.environ.get("RSCTL_DATA") or base / os.path.expanduser(settings.data)
    return Place(settings=settings, file=file, store=Path(store).absolute(), data=Path(data).absolute())
