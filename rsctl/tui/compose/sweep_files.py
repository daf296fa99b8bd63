"""Sweep files of the form: read, written and submitted on background threads."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rsctl.errors import InputError
from rsctl.tui import actions
from rsctl.tui.compose.draft import Draft
from rsctl.tui.compose.fields import Composed
from rsctl.tui.read_only import changes

if TYPE_CHECKING:
    from rsctl.config.templates import Template


def compose(draft: Draft) -> Composed:
    from rsctl.tui.compose import form

    return form.compose(draft)


def templates() -> dict[str, Template]:
    """The templates that come with rsctl, by name: the quickstart, then those that need no GPU, then the others."""
    from rsctl.config.templates import grouped

    return {one.name: one for group in grouped().values() for one in group}


def draft_of(template: Template) -> Draft:
    import tomli

    return Draft(tomli.loads(template.text))


@changes
def open_file(name: str) -> tuple[Draft, Path]:
    from rsctl.config.toml_file import read_toml

    file = Path(name).expanduser().absolute()
    return Draft(read_toml(file)), file


@changes
def save(file: Path, draft: Draft, own: bool) -> Path:
    """Write a sweep file; an existing one is overwritten only if it is the form's `own`."""
    from rsctl.store.files import publish, replace

    text = draft.toml().encode()
    if own:
        replace(file, text)
    elif not publish(file, text):
        raise InputError(f"{file}: already exists; choose another name.")
    return file


@changes
def submit(name: str, toml: str, update: bool) -> actions.Acted:
    with tempfile.TemporaryDirectory(prefix="rsctl-") as folder:
        file = Path(folder) / f"{name}.toml"
        file.write_text(toml, encoding="utf-8")
        return actions.submit(file, update)
