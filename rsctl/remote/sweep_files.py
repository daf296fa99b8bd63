"""Sweep files whose checkpoints and configurations of networks are taken along: the paths in them become those on the other side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli

from rsctl.config.toml_file import read_toml
from rsctl.config.toml_text import to_toml, to_value

_KEYS = ("file", "checkpoint", "method.file")
"""Keys of a method, its teacher and its start, and of a grid, that name a file."""
_MODELS = ("model", "architecture", "model.architecture")
"""Keys that may name a folder with the config.json of a network of Transformers."""
HF = "hf:"
"""Beginning of such a folder's name as a model."""


def checkpoints(raw: Mapping[str, Any]) -> list[str]:
    """The files and folders of this machine that a sweep file names, as it writes them."""
    return list(dict.fromkeys(path for path in _paths(raw) if path_of(path).exists()))


def path_of(text: str) -> Path:
    """The path on this machine that a sweep file's text names."""
    return Path(os.path.expanduser(text.removeprefix(HF)))


def place_of(text: str, there: str) -> str:
    """The text for a path on the other side in the place of this one."""
    return f"{HF}{there}" if text.startswith(HF) else there


def moved(file: Path, places: Mapping[str, str]) -> bytes:
    """The text of a sweep file with other paths; comments and layout stay, if the paths can be exchanged alone."""
    text = file.read_bytes().decode("utf-8-sig")
    wanted = _replaced(read_toml(file), lambda path: places.get(path, path))
    changed = text
    for old, new in places.items():
        for written in (to_value(old), f"'{old}'"):
            changed = changed.replace(written, to_value(new))
    try:
        same = tomli.loads(changed) == wanted
    except tomli.TOMLDecodeError:
        same = False
    return (changed if same else to_toml(wanted)).encode()


def _paths(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            if key in _KEYS:
                yield from (
                    path for path in (one if isinstance(one, list) else [one]) if isinstance(path, str)
                )
            if key in _MODELS:
                for text in one if isinstance(one, list) else [one]:
                    if isinstance(text, str) and (path_of(text) / "config.json").is_file():
                        yield text
            yield from _paths(one)
    elif isinstance(value, list):
        for one in value:
            yield from _paths(one)


def _replaced(value: Any, place: Callable[[str], str], named: bool = False) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(one, place, key in (*_KEYS, *_MODELS)) for key, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, place, named) for one in value]
    return place(value) if named and isinstance(value, str) else value
