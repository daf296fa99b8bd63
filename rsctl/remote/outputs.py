"""Files that a command wrote on the other side, brought to the paths that the command line names here."""

from __future__ import annotations

import shlex
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from rsctl.errors import RefusedError
from rsctl.plain import printable
from rsctl.remote.connection import Connection
from rsctl.report import output
from rsctl.store.files import replace

MOST = 1 << 30
"""Most bytes of a command's files."""


def require_writable(outputs: Mapping[str, Path], *, force: bool) -> None:
    """Check beforehand that files may be written here; raises as `rsctl.report.output.check` does."""
    for path in outputs.values():
        if not path.is_dir():
            output.check(path, force=force)


def bring(connection: Connection, folder: str, outputs: Mapping[str, Path], *, force: bool) -> None:
    """Fetch the files or folders of a command, replace those here, and remove them there.

    Raises
    ------
    RefusedError
        The other side sent something else than regular files below these names; nothing was written.
    """
    with tempfile.TemporaryFile() as packed:
        connection.download(f"cd {shlex.quote(folder)} && tar -cf - .", packed, MOST)
        packed.seek(0)
        try:
            with tarfile.open(fileobj=packed) as archive:
                members = [(member, _target(connection.name, member, outputs)) for member in archive]
                files = [(member, target) for member, target in members if target]
                for _, target in files:
                    output.check(target, force=force)
                for member, target in files:
                    content = archive.extractfile(member)
                    assert content
                    replace(target, content.read())
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise RefusedError(
                f"{connection.name}: sent a damaged archive ({printable(str(error))}). Repeat the command."
            ) from error
    for path in outputs.values():
        print(f"{path}: from {connection.name}", file=sys.stderr)
    connection.output(f"rm -rf {shlex.quote(folder)}")


def _target(name: str, member: tarfile.TarInfo, outputs: Mapping[str, Path]) -> Path | None:
    """The path here of a member; None for a folder."""
    if member.isdir():
        return None
    parts = PurePosixPath(member.name).parts
    path = outputs.get("/".join(parts[:2]))
    if not member.isreg() or path is None or ".." in parts or "\0" in member.name:
        raise RefusedError(
            f"{name}: sent '{printable(member.name)}', which is not a file of this command. Nothing was written."
        )
    return path.joinpath(*parts[2:])
