"""The sweep files that ship with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rsctl.errors import InputError, unknown

_HERE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Template:
    """A sweep file to start from; its first comment line is its summary."""

    name: str
    text: str

    @property
    def summary(self) -> str:
        return self.text.partition("\n")[0].lstrip("# ").strip()


def all_templates() -> list[Template]:
    """Every template by name: of the installed package, or of the source tree beside it."""
    folder = _HERE / "_templates" if (_HERE / "_templates").is_dir() else _HERE.parent / "templates"
    return [Template(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.toml"))]


def find_template(name: str) -> Template:
    found = {template.name: template for template in all_templates()}
    if name not in found:
        raise InputError(unknown("template", name, found))
    return found[name]
