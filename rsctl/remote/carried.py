"""A command line as it is run on the other side, with the files that it names there."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rsctl.config.settings import Place
from rsctl.config.toml_file import read_toml
from rsctl.errors import InputError
from rsctl.remote.bundles import Bundle, bundle_of, send
from rsctl.remote.command_line import CommandParameter, NamedFile, named_files
from rsctl.remote.connection import Connection
from rsctl.remote.sweep_files import checkpoints, moved, path_of, place_of


@dataclass(frozen=True)
class CarriedCommand:
    """A command for the other side."""

    words: tuple[str, ...]
    outputs: dict[str, Path]
    """Files or folders that it writes: their names in its output folder, and the paths here."""
    plugins: str = ""
    packages: str = ""
    """Folder there that holds the plugins."""


def carry(
    connection: Connection,
    place: Place,
    words: Sequence[str],
    parameters: Sequence[CommandParameter],
    folder: str,
) -> CarriedCommand:
    """Take along what a command names: files and folders of this machine, checkpoints in its sweep file, plugins of rsctl.toml.

    A path that doesn't exist here is passed on as it is: it may be one of the other side. Written files go to `folder` there.
    """
    plugins = _plugins(place)
    bundles = [plugins] if plugins else []
    rewritten, outputs = list(words), dict[str, Path]()
    for one in named_files(words[1:], parameters):
        path = Path(os.path.expanduser(one.path))
        if one.path == "-":
            continue  # stdin or stdout
        if one.is_output:
            # The name of `..` leads out of the folder.
            name = f"{len(outputs)}/{os.path.basename(os.path.abspath(path)) or 'output'}"
            outputs[name] = path
            there = f"{folder}/{name}"
        elif path.exists():
            bundle, before = _named(connection, path, one)
            send(connection, before)
            bundles.append(bundle)
            there = bundle.path(connection.base, Path(path.absolute()).name)
        else:
            continue
        rewritten[one.position + 1] = one.prefix + there
    send(connection, bundles)
    return CarriedCommand(
        tuple(rewritten), outputs, ",".join(place.settings.plugins) if plugins else "",
        plugins.path(connection.base) if plugins else "",
    )  # fmt: skip


def _named(connection: Connection, path: Path, one: NamedFile) -> tuple[Bundle, list[Bundle]]:
    """The bundle of a path, and those that have to be there before it: a sweep file's checkpoints."""
    if path.suffix != ".toml" or not path.is_file():
        return bundle_of(path), []
    named = {text: bundle_of(path_of(text)) for text in checkpoints(read_toml(path))}
    places = {
        text: place_of(text, bundle.path(connection.base, path_of(text).absolute().name))
        for text, bundle in named.items()
    }
    return Bundle({path.name: moved(path, places) if places else path}), list(named.values())


def _plugins(place: Place) -> Bundle | None:
    """The packages that rsctl.toml names under `plugins`, without compiled and hidden files such as `.git` and `.env`."""
    files: dict[str, Path | bytes] = {}
    for name in place.settings.plugins:
        top = name.partition(".")[0]
        spec = importlib.util.find_spec(top)
        if spec is None or not spec.origin:
            raise InputError(
                f"plugins of rsctl.toml: the package '{top}' isn't installed here, so it can't be taken along. Install it, or remove it."
            )
        origin = Path(spec.origin)
        if origin.name != "__init__.py":
            files[origin.name] = origin
            continue
        files |= {
            f"{top}/{path.relative_to(origin.parent).as_posix()}": path
            for path in sorted(origin.parent.rglob("*"))
            if path.is_file() and not _is_left(path.relative_to(origin.parent))
        }
    return Bundle(files) if files else None


def _is_left(inside: Path) -> bool:
    return any(part == "__pycache__" or part.startswith(".") for part in inside.parts)
