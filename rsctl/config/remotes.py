"""Other machines in rsctl.toml, which are reached over SSH."""

from __future__ import annotations

import re
from typing import Any

from pydantic import field_validator

from rsctl.catalog.declare import Parameters
from rsctl.plain import printable

_HOST = re.compile(r"[\w.@:/%+\[\]][\w.@:/%+\[\]-]*")


class Remote(Parameters):
    """`[remotes.NAME]`: another machine, reached over SSH."""

    host: str
    """Destination as ssh takes it: an alias of ~/.ssh/config, or user@host."""
    store: str = ""
    """Folder of the results there, absolute or relative to the home folder; by default that of the rsctl.toml there."""
    rsctl: str = "~/.local/share/rsctl/remote/rsctl"
    """The rsctl command there; by default the one that `rsctl remote setup` installs."""
    python: str = ""
    """Python (3.10 or newer) there on which `rsctl remote setup` builds; its packages are used. By default python3, without its packages."""
    setup: list[str] = []
    """Shell lines run there before rsctl, such as "module load slurm"."""

    @field_validator("host")
    @classmethod
    def _destination(cls, value: str) -> str:
        """It is an argument of ssh, which would take one that begins with a dash for an option."""
        if not _HOST.fullmatch(value):
            raise ValueError(
                "must be an alias of ~/.ssh/config or user@host, without spaces, quotes or a dash in front"
            )
        return value

    @field_validator("store", "rsctl", "python", "setup")
    @classmethod
    def _of_one_line(cls, value: Any) -> Any:
        if any(printable(part) != part for part in ([value] if isinstance(value, str) else value)):
            raise ValueError("must be one line without control characters")
        return value
