"""Entries as text of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from rsctl.config.toml_text import to_toml, to_value
from rsctl.reference.entries import KINDS, entries
from rsctl.reference.entry import ReferenceEntry

WIDTH = 80
NUMBERS = {
    "integer": "integer",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "object": "table",
}
BOUNDS = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
    "exclusiveMaximum": "<",
    "multipleOf": "multiple of",
}

MOST = 2**31 - 1
"""A bound from here on is one of storage, and isn't shown."""


def page(entry: ReferenceEntry) -> Iterator[tuple[str, str]]:
    """Headings and the text below each; the first heading is the entry's own."""
    kind = "key of a sweep file" if entry.kind == "key" else entry.kind
    title = "" if entry.kind == "key" else f"{wrapped(entry.title)}\n\n"
    special = "\n\nSpecial: few sweeps need it." if entry.special else ""
    yield f"{entry.name} ({kind})", f"{title}{wrapped(entry.about)}".rstrip() + special
    if entry.schema:
        yield "Value", wrapped(f"{allowed(entry.schema)}. {default_of(entry.schema)}", "  ")
    for heading, text in (
        ("Guarantees", entry.guarantees),
        ("When to use it", entry.use_when),
        ("Source", entry.source),
    ):
        if text:
            yield heading, wrapped(text, "  ")
    if entry.parameters:
        shown = (_parameter(one.name, one.schema) for one in entry.parameters)
        yield "Parameters", "\n".join(shown)
    if entry.defaults:
        yield "Defaults (a later line overrides an earlier one)", "\n".join(_sourced(entry))
    yield "Example", textwrap.indent(to_toml(entry.example).rstrip(), "  ")


def listing() -> Iterator[tuple[str, str]]:
    """Every name with its title, kind by kind."""
    further = {
        "certificate": "\n  Each probabilistic ℓ2 one also as NAME-l1 and NAME-linf: read in that norm.",
        "key": "\n  resources.certification, .verification and .attack have the same keys.",
    }
    for kind, heading in KINDS.items():
        yield heading, names(kind, "  ", "", "special: ") + further.get(kind, "")


def names(kind: str, indent: str, prefix: str = "", special: str = "") -> str:
    """The names of a kind that begin with the prefix, a line of 80 columns for each; `special` marks titles that few need."""
    shown = [one for one in entries() if one.kind == kind and one.name.startswith(prefix) and not one.variant]
    width = max(len(one.name) for one in shown) + 2
    lines = (f"{indent}{one.name:{width}}{special * one.special}{one.title}" for one in shown)
    return "\n".join(line if len(line) <= WIDTH else f"{line[: WIDTH - 1].rstrip()}…" for line in lines)


def wrapped(text: str, indent: str = "", first: str | None = None) -> str:
    """A paragraph of 80 columns."""
    lead = indent if first is None else first
    return textwrap.fill(
        text, WIDTH, initial_indent=lead, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )  # fmt: skip


def _parameter(name: str, schema: Mapping[str, Any]) -> str:
    head = f"  {name}: {allowed(schema)}. {default_of(schema)}"
    return "\n".join((wrapped(head, "      ", ""), wrapped(schema.get("description", ""), "      ")))


def default_of(schema: Mapping[str, Any]) -> str:
    """The default that a schema states."""
    if "default" in schema:
        return f"Default {to_value(schema['default'])}."
    return "Required." if schema.get("required", True) else "Not set by default."


def _sourced(entry: ReferenceEntry) -> Iterator[str]:
    for one in entry.defaults:
        values = ", ".join(f"{name} = {to_value(value)}" for name, value in one.values.items())
        yield wrapped(f"{one.where}: {values}", "    ", "  ")
        if entry.kind != "key":
            yield wrapped(f"({one.source})", "      ")
    if entry.kind == "key":
        yield "  'rsctl explain METHOD' gives the source of each."


def allowed(schema: Mapping[str, Any]) -> str:
    """The values that a schema allows."""
    if "enum" in schema or "const" in schema:
        return " or ".join(to_value(one) for one in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(allowed, schema["anyOf"])))
    if schema.get("type") == "array":
        return f"list, each {allowed(schema.get('items', {}))}"
    bounds = [f"{sign} {schema[key]:g}" for key, sign in BOUNDS.items() if schema.get(key, MOST) < MOST]
    return " ".join([NUMBERS.get(schema.get("type", ""), "any value"), ", ".join(bounds)]).rstrip()
