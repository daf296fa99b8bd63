"""A wheel of the rsctl that runs here, from an installed package or a clone alike."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import rsctl
from rsctl.config.templates import all_templates
from rsctl.errors import UnavailableError

PACKAGES = ("rsctl", "jobs")
_DATE = (1980, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: rsctl\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel() -> tuple[str, bytes]:
    """Return the wheel's file name and content; the same sources give the same bytes.

    Raises
    ------
    UnavailableError
        rsctl runs from a folder that isn't installed, so that its requirements aren't known.
    """
    try:
        found = metadata.distribution("rsctl")
    except metadata.PackageNotFoundError as error:
        raise UnavailableError(
            "rsctl isn't installed here: it has no metadata to build a wheel of. Install it from its clone with pip."
        ) from error
    about, points = found.read_text("METADATA"), found.read_text("entry_points.txt")
    if not about or not points:
        raise UnavailableError("rsctl's metadata is incomplete here. Install it from its clone with pip.")
    info = f"rsctl-{rsctl.__version__}.dist-info"
    files = {
        **dict(_sources()),
        f"{info}/METADATA": about.encode(),
        f"{info}/WHEEL": _WHEEL.encode(),
        f"{info}/entry_points.txt": points.encode(),
    }
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    return f"rsctl-{rsctl.__version__}-py3-none-any.whl", packed.getvalue()


def _sources() -> Iterator[tuple[str, bytes]]:
    home = Path(rsctl.__file__).parents[1]
    for package in PACKAGES:
        for path in sorted((home / package).rglob("*")):
            if path.is_file() and path.suffix != ".pyc" and "_templates" not in path.parts:
                yield path.relative_to(home).as_posix(), path.read_bytes()
    for template in all_templates():
        yield f"rsctl/_templates/{template.name}.toml", template.text.encode()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
