"""Identifies files that aren't checkpoints, for an error message with a remedy."""

from __future__ import annotations

import io
import json
import re
import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path

from rsctl.catalog.weight_files import INDEX

AGAIN = "Copy or download it again"
CUT = "ends too early: it is the first part of a checkpoint."
PACKED: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "compressed by gzip", "gzip -dc"),
    (b"BZh", "compressed by bzip2", "bzip2 -dc"),
    (b"\xfd7zXZ\0", "compressed by xz", "xz -dc"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "zstd -dc"),
)
KINDS: tuple[tuple[bytes, str], ...] = (
    (b"\x93NUMPY", "an array of NumPy (.npy)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras writes"),
    (b"\x08\x01\x12", "a protocol buffer such as TensorFlow's saved models"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"7z\xbc\xaf\x27\x1c", "an archive of 7-Zip: unpack it"),
    (b"Rar!", "an archive of RAR: unpack it"),
)
"""First bytes of files, and the kind of file that each tells."""
EXPORT = "rsctl reads weights of PyTorch (torch.save of a state dict) and safetensors: get those, or export them with its authors' code."


def problem_of(file: Path, data: bytes) -> str:
    """Error message for a file that is no checkpoint; empty where it may be one."""
    for check in (_absent, _text, _archive, _binary):
        if problem := check(file, data):
            return f"{file}: {problem}"
    return ""


def _absent(file: Path, data: bytes) -> str:
    if not data:
        return f"is empty. {AGAIN}: the disk may have been full."
    if (len(data) < 4 and b"PK\x03\x04".startswith(data)) or _cut_safetensors(data):
        return f"{CUT} {AGAIN}."
    if not data.strip(b"\0"):
        return f"holds nothing but zeros. {AGAIN}: it was set aside and never written."
    return ""


def _cut_safetensors(data: bytes) -> bool:
    """True if a safetensors file ends before the last tensor that its header lists."""
    length = int.from_bytes(data[:8], "little")
    if data[8:9] != b"{" or length >= 100_000_000:
        return False
    try:
        header = json.loads(data[8 : 8 + length]) if len(data) >= 8 + length else None
        return header is None or len(data) < 8 + length + max(
            (one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"), default=0
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):  # damaged otherwise
        return False


def _text(file: Path, data: bytes) -> str:
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    low = head.lower()
    if head.startswith(b"version https://git-lfs"):
        name = shlex.quote(file.name)
        return (
            "is a pointer of Git LFS, not the file itself. In its folder, with git-lfs installed: "
            f"git lfs pull --include {name}"
        )
    if re.match(rb"(/annex/objects|\.\./.*annex/objects)", head):
        return f"is a pointer of git-annex. In its folder: git annex get {shlex.quote(file.name)}"
    if re.match(rb"(md5: |outs:\s)", head):
        name, itself = shlex.quote(file.name), file.name.removesuffix(".dvc")
        return f"is a pointer of DVC, not the file itself. In its folder: dvc pull {name}; then give {itself}"
    if low.startswith((b"<!doctype html", b"<html")) or b"<html" in low[:1000]:
        return (
            "is an HTML page: a server's reply in place of the file, such as a login or a warning. Download it again "
            "from the link of the file itself."
        )
    if low.startswith(b"<?xml"):
        return f"is XML, such as a server's refusal ({_begins(head)}). Download it again from where you may read it."
    if head and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head[:512]):
        if head.startswith(b"model_checkpoint_path"):
            return f"lists checkpoints of TensorFlow. {EXPORT}"
        return f"is text, not a checkpoint that PyTorch can read ({_begins(head)}). {EXPORT}"
    return ""


def _begins(head: bytes) -> str:
    return "it begins with '" + head[:40].decode("utf-8", "replace").splitlines()[0] + "'"


def _archive(file: Path, data: bytes) -> str:
    unpacked = shlex.quote(f"{file.name}.unpacked")
    for magic, what, command in PACKED:
        if data.startswith(magic):
            return f"is {what}. Unpack it:\n{command} {shlex.quote(str(file))} > {unpacked}"
    if data[257:262] == b"ustar":
        return f"is a tar archive. Unpack it:\nmkdir {unpacked} && tar -xf {shlex.quote(str(file))} -C {unpacked}"
    if not data.startswith(b"PK\x03\x04"):
        return ""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return f"{CUT} {AGAIN}."
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        if any(name.endswith("data.pkl") for name in names):
            return _damaged(archive)
        if any(name.endswith(INDEX) for name in names):
            return ""
    if names and all(name.endswith(".npy") for name in names):
        return f"is an archive of NumPy's arrays (.npz: {', '.join(names[:3])}{', …' * (len(names) > 3)}). {EXPORT}"
    return (
        f"is a zip archive with {', '.join(names[:3]) or 'nothing'}{', …' * (len(names) > 3)} in it, not a checkpoint. Unpack it:\n"
        f"python -m zipfile -e {shlex.quote(str(file))} {unpacked}"
    )


def _damaged(archive: zipfile.ZipFile) -> str:
    """Error message for a checkpoint whose parts don't match their checksums; else empty."""
    check: Callable[[], str | None] = archive.testzip
    try:
        bad = check()
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        return f"is damaged ({error}). {AGAIN}."
    return f"is damaged: its part {bad} doesn't have its checksum. {AGAIN}." if bad else ""


def _binary(file: Path, data: bytes) -> str:
    for magic, what in KINDS:
        if data.startswith(magic):
            return f"is {what}, not a checkpoint of PyTorch. {EXPORT}"
    if file.suffix == ".index" or re.search(r"\.data-\d{5}-of-\d{5}$", file.name) or file.suffix == ".meta":
        return f"is a part of a TensorFlow checkpoint. {EXPORT}"
    return ""
