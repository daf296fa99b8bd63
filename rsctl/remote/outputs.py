"""Files that a command wrote on the other side, brought to the paths that the command line names here."""

from __future__ import annotations

import shlex
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from rsctl.errors import RefusedError
from rsctl.plain import printable
from rsctl.remote.connection import Connection
from rsctl.report import output
from rsctl.report.radius_logs.manifest import MANIFEST, with_earlier
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
            # Uncompressed, and without sparse files: what arrives is never larger than what was sent.
            with tarfile.open(fileobj=packed, mode="r:") as archive:
                members = [(member, _target(connection.name, member, outputs)) for member in archive]
                files = [(member, target) for member, target in members if target]
                manifests: dict[Path, bytes] = {}
                for member, target in files:
                    if target.name == MANIFEST and target not in outputs.values():
                        manifests[target] = with_earlier(
                            target.parent, _content(archive, member), force=force
                        )
                    else:
                        output.check(target, force=force)
                for member, target in files:
                    replace(target, manifests.get(target) or _content(archive, member))
        except (tarfile.TarError, EOFError, ValueError, RecursionError) as error:
            raise RefusedError(
                f"{connection.name}: sent a damaged archive ({printable(str(error))}). Repeat the command."
            ) from error
    for path in outputs.values():
        print(f"{path}: from {connection.name}", file=sys.stderr)
    connection.output(f"rm -rf {shlex.quote(folder)}")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file
    return file.read()


def _target(name: str, member: tarfile.TarInfo, outputs: Mapping[str, Path]) -> Path | None:
    """The path here of a member; None for a folder."""
    if member.isdir():
        return None
    parts = PurePosixPath(member.name).parts
    path = outputs.get("/".join(parts[:2]))
    if (
        not member.isreg()
        or member.issparse()
        or path is None
        or "\0" in member.name
        or not _is_output(parts[2:])
    ):
        raise RefusedError(
            f"{name}: sent '{printable(member.name)}', which is not a file of this command. Nothing was written."
        )
    return path.joinpath(*parts[2:])


def _is_output(inside: Sequence[str]) -> bool:
    """Return whether a command writes a file of this name into a folder: the logs of an export, and nothing that runs or configures."""
    return not inside or (len(inside) == 1 and (inside[0].endswith(".tsv") or inside[0] == MANIFEST))
