"""Records without what identifies a machine or a person: only the fields named here are packed, and only they are unpacked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from rsctl.plain import harmless
from rsctl.store.fields import LAUNCH
from rsctl.store.records import seal

_LAUNCH = ("threads", "gpus", "processes", "minutes", "memory_gb", "stated", "alpha", "certificates")
_VERSIONS = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_ -]{0,60}")
_RECORDS = {
    "claim": ("record", "time", "threads", "versions"),
    "progress": (
        "record", "time", "done", "total", "unit", "rate", "memory_gb", "device", "epoch", "epochs", "draws", "images_per_step",
        "batch_statistics", "processes", "so_far", "at_once",
    ),
    "end": ("record", "time", "state", "reason"),
}  # fmt: skip
ELSEWHERE = "another machine"
"""Host of a received attempt."""

_PATH = re.compile(r"(?<![\w.:/~…-])(?:~[\w.-]*)?/(?:[\w.@%+=:,~-]+/)*[\w.@%+=:,~-]*[\w@%+=~-]")
_SECRET = re.compile(
    r"((?:api_?key|token|secret|password|passwd|credential)\w*[\"']?\s*[=:]\s*)(\"[^\"\n]*\"|'[^'\n]*'|\S+)",
    re.I,
)
_FILE = re.compile(
    r"[\w@%+=~-][\w.@%+=~-]*\.(?:pt|pth|tar|safetensors|bin|toml|py|h5|npz|npy|csv|tsv|txt|json|jsonl|zip)"
)


class Scrubber:
    """Replaces absolute paths, secrets and these names in texts that people and programs wrote."""

    def __init__(self, names: Iterable[str] = (), folders: Iterable[str] = ()) -> None:
        kept = sorted({name for name in names if len(name) > 2 and name != "root"}, key=len, reverse=True)
        self._names = (
            re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, kept))})(?![\w-])") if kept else None
        )
        self._folders = sorted({folder for folder in folders if len(folder) > 1}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text with … in their place; control characters are removed."""
        text = _SECRET.sub(lambda found: f'{found[1]}"…"', harmless(text))
        for folder in self._folders:
            text = text.replace(f"{folder}/", "…/").replace(folder, "…")
        text = _PATH.sub(lambda found: _shortened(found[0]), text)
        return self._names.sub("…", text) if self._names else text

    def values(self, values: Any) -> Any:
        """JSON values with every text scrubbed."""
        if isinstance(values, str):
            return self.text(values)
        if isinstance(values, list):
            return [self.values(value) for value in values]
        if isinstance(values, dict):
            return {self.text(str(key)): self.values(value) for key, value in values.items()}
        return values


def _shortened(path: str) -> str:
    name = path.rpartition("/")[2]
    return f"…/{name}" if _FILE.fullmatch(name) else "…"


def launch_values(launch: Mapping[str, Any]) -> dict[str, Any]:
    """Launch settings that numbers, hours or provenance depend on; no path, plugin or code of them is ever used."""
    made = launch.get("provenance", {})
    kept = {name: launch[name] for name in _LAUNCH if name in launch}
    about: dict[str, Any] = {
        "versions": versions_of(made.get("versions", {})),
        "git": git_of(made.get("git", {})),
    }
    code = str(made.get("code") or launch.get("code", ""))
    about["code"] = code if re.fullmatch("[0-9a-f]{0,64}", code) else ""
    values = {"code": "", "data": "", "plugins": [], "dataset_parameters": {}, "provenance": about, **kept}
    return seal(values, LAUNCH)


def versions_of(versions: Mapping[str, Any]) -> dict[str, str]:
    """Versions of packages, and the platform without its kernel's name."""
    found = {name: str(version) for name, version in versions.items() if _VERSIONS.fullmatch(name)}
    if "platform" in found:
        found["platform"] = re.split(r"[-_ .]", found["platform"])[0]
    return {name: version for name, version in found.items() if _VERSIONS.fullmatch(version)}


def git_of(git: Any) -> dict[str, Any]:
    """Commit and dirtiness."""
    sha = str(git.get("sha", "")) if isinstance(git, Mapping) else ""
    return {"sha": sha, "dirty": bool(git.get("dirty"))} if re.fullmatch("[0-9a-f]{40,64}", sha) else {}


def attempt_record(record: Mapping[str, Any], scrubber: Scrubber) -> dict[str, Any]:
    """One record of an attempt without its host, process, user and command."""
    kept = {name: record[name] for name in _RECORDS[record["record"]] if name in record}
    if "versions" in kept:
        kept["versions"] = versions_of(kept["versions"])
    for name in ("reason", "unit", "device", "batch_statistics"):
        if isinstance(kept.get(name), str):
            kept[name] = scrubber.text(kept[name])
    return {**kept, "host": ELSEWHERE} if kept["record"] == "claim" else kept


def metric_values(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one line of a training curve."""
    return {
        name: value
        for name, value in record.items()
        if isinstance(value, (int, float)) and name.isidentifier()
    }
