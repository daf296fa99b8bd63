"""The golden store as it is kept: an archive in which placeholders stand for its place, host and user."""

from __future__ import annotations

import io
import os
import re
import socket
import tarfile
from pathlib import Path

ARCHIVE = Path(__file__).with_name("store.tar.xz")
"""Every kind of run and record."""
BEGUN = Path(__file__).with_name("begun.tar.xz")
"""Tables of counts that were interrupted; the other archive has them finished."""
TEXTS = (".json", ".jsonl", ".toml", ".log", ".txt")


REPOSITORY = Path(__file__).parents[2]


def _here(root: Path) -> dict[str, str]:
    host = re.sub(r"[^A-Za-z0-9._-]", "_", socket.gethostname())
    return {
        "@ROOT@": str(root),
        "@QUEUE@": f"{os.geteuid()}@{host}",
        '"host":"@HOST@"': f'"host":"{socket.gethostname()}"',
        '"host": "@HOST@"': f'"host": "{socket.gethostname()}"',
        "@REPOSITORY@": str(REPOSITORY),
    }


def pack(root: Path, target: Path) -> None:
    """Write what lies below `root`."""
    places = _here(root)
    with tarfile.open(target, "w:xz", preset=9) as archive:
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            name = str(path.relative_to(root))
            if name.startswith("cache/") or "/code/" in name or path.name.startswith("."):
                continue
            data = path.read_bytes()
            if path.suffix in TEXTS:
                for mark, value in places.items():
                    data = data.replace(value.encode(), mark.encode())
            for mark, value in places.items():
                name = name.replace(value, mark)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), path.stat().st_mtime
            archive.addfile(entry, io.BytesIO(data))


def unpack(root: Path, source: Path = ARCHIVE) -> None:
    """Write the archive below `root`, with this place, host and user in place of the marks."""
    places = _here(root)
    with tarfile.open(source) as archive:
        for entry in archive:
            file = archive.extractfile(entry)
            assert file is not None
            data, name = file.read(), entry.name
            for mark, value in places.items():
                name = name.replace(mark, value)
            path = root / name
            if path.suffix in TEXTS:
                for mark, value in places.items():
                    data = data.replace(mark.encode(), value.encode())
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            os.utime(path, (entry.mtime, entry.mtime))
