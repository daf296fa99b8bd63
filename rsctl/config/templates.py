"""The sweep files that ship with the package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rsctl.errors import InputError, unknown

_HERE = Path(__file__).resolve().parents[1]
_GPUS = re.compile(r" \(((?:needs|a GPU) [^()]*)\)$")


@dataclass(frozen=True)
class Template:
    """A sweep file to start from; its first comment line is its summary.

    The summary of a paper's template begins with the paper and a comma, and ends with the GPUs it needs in parentheses.
    One without them runs on one machine's CPU.
    """

    name: str
    text: str

    @property
    def summary(self) -> str:
        return self.text.partition("\n")[0].lstrip("# ").strip()

    @property
    def gpus(self) -> str:
        """`needs a GPU`, `needs GPUs`, `a GPU helps`; empty if it runs on a CPU."""
        found = _GPUS.search(self.summary)
        return found[1] if found else ""

    @property
    def heading(self) -> str:
        """Heading of its group in a listing: its paper, or the machine that is enough."""
        return self.summary.partition(", ")[0] if self.gpus else "On one machine, without a GPU"

    @property
    def entry(self) -> str:
        """Its summary below the heading of its group."""
        return self.summary.removeprefix(f"{self.heading}, ")


def all_templates() -> list[Template]:
    """Every template by name: of the installed package, or of the source tree beside it."""
    folder = _HERE / "_templates" if (_HERE / "_templates").is_dir() else _HERE.parent / "templates"
    return [Template(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.toml"))]


def grouped() -> dict[str, list[Template]]:
    """Templates by heading: those that run without a GPU first, the quickstart before all, special ones last."""
    groups: dict[str, list[Template]] = {}
    for one in sorted(
        all_templates(),
        key=lambda one: (
            one.gpus != "",
            one.name != "quickstart",
            one.summary.startswith("Special"),
            one.name,
        ),
    ):
        groups.setdefault(one.heading, []).append(one)
    return groups


def find_template(name: str) -> Template:
    found = {template.name: template for template in all_templates()}
    if name not in found:
        raise InputError(unknown("template", name, found))
    return found[name]
