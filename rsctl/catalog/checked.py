"""Findings of `rsctl data check`, kept by the size and the time of change of each file: what hasn't changed isn't opened again."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rsctl.catalog.listing import Listing

RULES = 1
"""Version of what is taken for readable: raise it when `jobs.data.decode` reads other files."""
KEY = 8
"""Bytes that stand for a readable file."""


@dataclass
class Checked:
    """The files of one folder that were opened so far."""

    file: Path
    """Where it is kept."""
    readable: set[bytes] = field(default_factory=set)
    """Keys of the files that can be decoded."""
    defects: dict[str, str] = field(default_factory=dict)
    """Hexadecimal key of a file that can't → why, and what to do."""

    @classmethod
    def of(cls, root: Path, white: float = 0.0, orientation: str = "stored") -> Checked:
        """The findings kept of a folder; nothing where there is none, or it can't be read."""
        from PIL import __version__ as pillow

        values = [RULES, pillow, str(root.resolve()), white, orientation]
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rsctl" / "checked"
        known = cls(base / hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32])
        try:
            data = known.file.read_bytes()
            length = int.from_bytes(data[:KEY], "big")
            known.defects = {str(key): str(why) for key, why in json.loads(data[KEY : KEY + length]).items()}
            known.readable = {data[i : i + KEY] for i in range(KEY + length, len(data) - KEY + 1, KEY)}
        except (OSError, ValueError, AttributeError):
            return cls(known.file)
        return known

    def defect(self, key: bytes) -> str | None:
        """Why the file of this key can't be decoded, empty where it can; None where it wasn't opened."""
        return "" if key in self.readable else self.defects.get(key.hex())

    def keep(self, keys: Iterable[bytes]) -> None:
        """Write what is known of the files that are there; a folder that can't be written to keeps nothing."""
        there = set(keys)
        defects = {key: why for key, why in self.defects.items() if bytes.fromhex(key) in there}
        text = json.dumps(defects).encode()
        data = len(text).to_bytes(KEY, "big") + text + b"".join(self.readable & there)
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.file.parent, delete=False) as stream:
                stream.write(data)
            os.replace(stream.name, self.file)
        except OSError:
            return


def keys_of(listing: Listing) -> list[bytes]:
    """A stamp for each file that stays as long as its size and its time of change stay."""
    return [
        hashlib.blake2b(
            f"{file}\0{size}\0{changed}".encode("utf-8", "surrogateescape"), digest_size=KEY
        ).digest()
        for (file, _, size), changed in zip(listing.files, listing.changed, strict=True)
    ]


def known_defects(root: Path, listing: Listing, white: float, orientation: str) -> dict[str, str]:
    """Those of some listed files that an earlier check couldn't decode, and why."""
    known = Checked.of(root, white, orientation)
    if not known.defects:
        return {}
    said = zip(listing.files, map(known.defect, keys_of(listing)), strict=True)
    return {file: why for (file, _, _), why in said if why}
