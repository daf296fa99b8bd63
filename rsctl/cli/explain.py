"""The reference on the command line: names and keys, topics, and the schema of sweep files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import typer

from rsctl.cli.common import AsJson


def explain(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[NAME]",
            help="A method, certificate, verifier, attack, model, data set, noise, or a key such as training.epochs.",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Explain a name or a key of a sweep file: what it is, parameters, guarantee, example. Alone: list all."""
    from rsctl.config.settings import load_settings
    from rsctl.reference.entries import entries, find
    from rsctl.reference.pages import listing, page

    load_settings()  # makes the plugins known
    found = find(name) if name else entries()
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=1, ensure_ascii=False))
    elif name:
        for one in found:
            _show(page(one))
    else:
        _show(listing())


def _show(sections: Iterable[tuple[str, str]]) -> None:
    """Print texts, their headings in bold on a terminal."""
    from rsctl.plain import steer

    on, off = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    for heading, text in sections:
        steer(sys.stdout, on)
        print(heading, end="")
        steer(sys.stdout, off)
        print(f"\n{text}\n")


def schema() -> None:
    """Print the JSON Schema of sweep files, for editors that complete and check TOML.

    Save it (rsctl schema > sweep.schema.json) and begin a sweep file with '#:schema ./sweep.schema.json'.
    """
    from rsctl.config.settings import load_settings
    from rsctl.reference.schema import sweep_schema

    load_settings()
    print(json.dumps(sweep_schema(), indent=1, ensure_ascii=False))


def help_(
    topic: Annotated[str, typer.Argument(metavar="[TOPIC]", help="A topic; alone: list them.")] = "",
) -> None:
    """Show a page of the documentation."""
    from rsctl.config.settings import load_settings
    from rsctl.reference import topics

    load_settings()
    if topic:
        print(topics.topic(topic).rstrip())
    else:
        for name, title in topics.topics().items():
            print(f"{name:14} {title}")
