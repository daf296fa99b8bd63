"""Removal of paths and of the names of users and hosts from text that leaves this machine."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path

_PATH = re.compile(r"(?<![^\s'\"`(=:,;\[<])(?:file://)?/(?:[^\s/'\"`<>|,;:]+/)+(?=[^\s/'\"`<>|,;:]|)")
"""The folders of an absolute path; the name behind them stays."""
_COMMON = frozenset(("root", "user", "test", "admin", "localhost", "ubuntu", "local", "home"))
"""Names that identify nobody, and that occur in ordinary sentences."""


class Private:
    """Replaces what identifies a person or a machine."""

    def __init__(self, folders: Sequence[Path] = (), names: Sequence[str] | None = None) -> None:
        """`folders` are replaced by `…` wherever they occur; `names` are those of the user and the host by default."""
        known = own_names() if names is None else names
        self._folders = [str(one) for one in folders if len(one.parts) > 1]
        told = sorted({one for one in known if len(one) > 2 and one.lower() not in _COMMON}, key=len)[::-1]
        self._names = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, told))})(?!\w)") if told else None

    def __call__(self, text: str) -> str:
        for folder in sorted(self._folders, key=len, reverse=True):
            text = text.replace(f"{folder}/", "…/").replace(folder, "…")
        text = _PATH.sub("…/", text)
        return self._names.sub("…", text) if self._names else text


def own_names() -> list[str]:
    """Names of this user and this host, as far as they are known."""
    host = socket.gethostname()
    found = [host, host.partition(".")[0], Path(os.path.expanduser("~")).name]
    with contextlib.suppress(KeyError, OSError):  # a user without an entry has no name
        found.append(getpass.getuser())
    return [one for one in found if one]
