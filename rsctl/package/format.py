"""The package format: a gzip-compressed tar of plain files, the manifest first, the others in its order.

| member | content |
|---|---|
| `manifest.json` | format, sweep, version of rsctl, licence of the data; name, size and SHA-256 of every other member |
| `CARD.md` | the card: methods, guarantee, hardware, hours, licence |
| `tables/table.md`, `.csv`, `.json` | the tables, as exported from the members below |
| `sweep/sweep.toml`, `sweep/plan.json` | the sweep file, and its list of runs |
| `sweep/tuned.json` | choices by `rsctl tune` of its cascades, or by counts of its runs |
| `sweep/imports/<id>.json`, `imports/<id>/…` | imported logs |
| `runs/<kind>/<id>/spec.json`, `launch.json` | the spec; alpha, certificates, versions and code |
| `runs/<kind>/<id>/tasks.json`, `seen.json`, `taken.json` | images and attempts of its tasks; images by class |
| `runs/<kind>/<id>/counts.h5`, `findings.h5` | the rows, in one file |
| `runs/<kind>/<id>/certified.h5` | radii and labels as they were when it was packed |
| `runs/models/<id>/metrics.<attempt>.jsonl`, `model.pt` | training curves; the weights, if they were included |
| `runs/<kind>/<id>/logs/<task>.log` | logs of its tasks, if they were included |

A member that the manifest lists with `included` false is left out of the file: its receiver has it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import FailFast, Field, with_config
from typing_extensions import TypedDict

from rsctl.errors import InputError
from rsctl.store.fields import STRICT, Name, Text
from rsctl.store.received import Sha256
from rsctl.store.records import Kind
from rsctl.store.run_kinds import RunKind

FORMAT, VERSION = "rsctl package", 1
SUFFIX = ".rsctl"
MANIFEST, CARD = "manifest.json", "CARD.md"
TABLES = {"md": "tables/table.md", "csv": "tables/table.csv", "json": "tables/table.json"}

_ID = "[A-Za-z0-9][A-Za-z0-9._+-]{0,149}"
NAMES = re.compile(
    rf"CARD\.md|tables/table\.(md|csv|json)|sweep/(sweep\.toml|(plan|tuned)\.json)|sweep/imports/{_ID}\.json|imports/{_ID}/(spec\.json|radii\.h5)"
    rf"|runs/({'|'.join(RunKind)})/{_ID}/((spec|launch|tasks|seen|taken)\.json|(counts|findings|certified)\.h5|metrics\.[0-9]{{1,6}}\.jsonl"
    r"|model\.pt|logs/[0-9]{4,7}\.log)"
)
"""Names that a member may have."""

MOST_MEMBERS = 200_000
MOST_MANIFEST = 64 << 20
MOST_BYTES = {".json": 64 << 20, ".jsonl": 64 << 20, ".md": 16 << 20, ".csv": 64 << 20, ".toml": 4 << 20, ".log": 64 << 20, ".h5": 400_000_000, ".pt": 1 << 40}  # fmt: skip
"""Most bytes of a member, by the ending of its name."""
MOST_RATIO, ALWAYS = 200, 64 << 20
"""Most bytes of all members per byte of the package, and those that any package may have."""


class NotAPackageError(InputError):
    """The file is no package, or not one that may be unpacked."""


@with_config(STRICT)
class MemberRecord(TypedDict):
    """One member in the manifest."""

    name: Annotated[str, Field(max_length=300)]
    size: Annotated[int, Field(ge=0, lt=2**43)]
    sha256: Sha256
    included: bool


@with_config(STRICT)
class ManifestRecord(TypedDict):
    """`manifest.json`."""

    format: Literal["rsctl package"]
    version: Literal[1]
    sweep: Name
    rsctl: Annotated[str, Field(max_length=100)]
    licence: Text
    members: Annotated[list[MemberRecord], Field(min_length=1, max_length=MOST_MEMBERS), FailFast()]


MANIFEST_RECORD = Kind(ManifestRecord)


@dataclass(frozen=True)
class Member:
    """One file of a package."""

    name: str
    size: int
    sha256: str
    included: bool = True

    @property
    def suffix(self) -> str:
        return f".{self.name.rpartition('.')[2]}"


@dataclass(frozen=True)
class Manifest:
    """The first member of a package."""

    sweep: str
    rsctl: str
    """Version that packed it."""
    licence: str
    members: tuple[Member, ...]
    sha256: str
    """SHA-256 of the manifest itself: the name of the package."""


def values_of(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON values."""
    return {
        "format": FORMAT, "version": VERSION, "sweep": manifest.sweep, "rsctl": manifest.rsctl, "licence": manifest.licence,
        "members": [vars(member) for member in manifest.members],
    }  # fmt: skip
