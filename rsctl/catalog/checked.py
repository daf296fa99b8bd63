"""Results of `rsctl data check`, cached by size and modification time: unchanged files aren't opened again."""

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
"""Version of the check: raise it when `jobs.data.decode` reads other files."""
KEY = 8
"""Bytes per readable file in the cache."""


@dataclass
class Checked:
    """The files of one folder that were opened so far."""

    file: Path
    """Path of the cache."""
    readable: set[bytes] = field(default_factory=set)
    """Keys of the files that can be decoded."""
    defects: dict[str, str] = field(default_factory=dict)
    """Hexadecimal key of a file that can't → why, and what to do."""

    @classmethod
    def of(cls, root: Path, white: float = 0.0, orientation: str = "stored") -> Checked:
        """The cached results of a folder; empty where the cache doesn't exist or can't be read."""
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
        """Reason why the file of this key can't be decoded, empty where it can; None where it wasn't opened."""
        return "" if key in self.readable else self.defects.get(key.hex())

    def keep(self, keys: Iterable[bytes]) -> None:
        """Write the results of existing files; does nothing if the folder is read-only."""
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
    """A stamp for each file that changes with its size and modification time."""
    return [
        hashlib.blake2b(
            f"{file}\0{size}\0{changed}".encode("utf-8", "surrogateescape"), digest_size=KEY
        ).digest()
        for (file, _, size), changed in zip(listing.files, listing.changed, strict=True)
    ]


def known_defects(root: Path, listing: Listing, white: float, orientation: str) -> dict[str, str]:
    """Listed files that an earlier check couldn't decode, with the reasons."""
    known = Checked.of(root, white, orientation)
    if not known.defects:
        return {}
    reasons = zip(listing.files, map(known.defect, keys_of(listing)), strict=True)
    return {file: why for (file, _, _), why in reasons if why}
