"""The topics of `rsctl help`: the pages in `rsctl/docs`, with what the declarations hold put in."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from rsctl.config.remotes import Remote
from rsctl.config.settings import LocalProfile, Settings, SlurmProfile
from rsctl.errors import InputError, unknown
from rsctl.reference.entries import entries
from rsctl.reference.pages import allowed, default_of, shortened, wrapped
from rsctl.reference.schema import fields

FOLDER = Path(__file__).resolve().parents[1] / "docs"
_MARK = re.compile(r"^<!-- rsctl: (.+) -->$", re.MULTILINE)
"""A line of a page that is replaced by a generated list."""


def topics() -> dict[str, str]:
    """Names of the pages, each with its heading."""
    pages = sorted(FOLDER.glob("*.md"))
    return {page.stem: page.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") for page in pages}


def topic(name: str) -> str:
    """A page with its lists filled in; raises InputError."""
    if name not in topics():
        raise InputError(unknown("topic", name, topics()))
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    return _MARK.sub(lambda found: GENERATED[found[1]](), text)


def _listed(kind: str, prefix: str = "") -> Callable[[], str]:
    def text() -> str:
        shown = [
            one for one in entries() if one.kind == kind and one.name.startswith(prefix) and not one.variant
        ]
        width = max(len(one.name) for one in shown) + 2
        return "\n".join("    " + shortened(f"{one.name:{width}}{one.title}", 76) for one in shown)

    return text


def _fields(model: type[BaseModel]) -> Callable[[], str]:
    def text() -> str:
        return "\n".join(
            wrapped(
                f"{name}: {allowed(schema)}. {default_of({'required': False, **schema})} {schema['description']}",
                "        ",
                "    ",
            )
            for name, schema in fields(model).items()
            if name not in ("backend", "profiles", "remotes")
        )

    return text


GENERATED: dict[str, Callable[[], str]] = {
    "methods": _listed("method"),
    "certificates": _listed("certificate"),
    "verifiers": _listed("verifier"),
    "attacks": _listed("attack"),
    "models": _listed("model"),
    "data sets": _listed("data set"),
    "noises": _listed("noise"),
    **{f"keys {table}": _listed("key", f"{table}.") for table in ("training", "certification", "verification", "attack", "precision", "resources")},
    "settings": _fields(Settings),
    "slurm profile": _fields(SlurmProfile),
    "local profile": _fields(LocalProfile),
    "remote": _fields(Remote),
}  # fmt: skip
