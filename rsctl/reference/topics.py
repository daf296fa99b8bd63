"""The topics of `rsctl help`: the pages in `rsctl/docs`, with what the declarations hold put in."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from rsctl.config.remotes import Remote
from rsctl.config.settings import LocalProfile, Settings, SlurmProfile
from rsctl.errors import InputError, unknown
from rsctl.reference.pages import allowed, default_of, names, wrapped
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


def _fields(model: type[BaseModel]) -> str:
    texts = (
        f"{name}: {allowed(schema)}. {default_of({'required': False, **schema})} {schema['description']}"
        for name, schema in fields(model).items()
        if name not in ("backend", "profiles", "remotes")
    )
    return "\n".join(wrapped(text, "        ", "    ") for text in texts)


GENERATED: dict[str, Callable[[], str]] = {
    **{f"{kind}s": partial(names, kind, "    ") for kind in ("method", "certificate", "verifier", "attack", "model", "data set", "noise")},
    **{
        f"keys {table}": partial(names, "key", "    ", f"{table}.")
        for table in ("training", "certification", "verification", "attack", "cascade", "precision", "resources")
    },
    "settings": partial(_fields, Settings),
    "slurm profile": partial(_fields, SlurmProfile),
    "local profile": partial(_fields, LocalProfile),
    "remote": partial(_fields, Remote),
}  # fmt: skip
