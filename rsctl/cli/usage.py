"""Rewrites the parser's errors in the style of the other error messages."""

from __future__ import annotations

import re
from typing import Any

from rsctl.errors import unknown


def usage(error: Any) -> str:
    """Return the message for an error of the parser (click's UsageError or typer's copy of it)."""
    context = getattr(error, "ctx", None)
    command: Any = context.command if context else None
    path = context.command_path if context else "rsctl"
    explained = f"'{path} --help' explains it."
    where = f"{path.removeprefix('rsctl').strip()}: ".lstrip(": ")
    text = error.format_message().rstrip(".")
    if found := re.match(r"No such option:? '?(-[-\w]+)", text):
        options = [
            name for one in (command.params if command else ()) for name in one.opts if name.startswith("-")
        ]
        return f"{where}{unknown('option', found[1], [*options, '--help'])}"
    if found := re.match(r"No such command '(.*?)'", text):
        return f"{where}{unknown('command', found[1], command.commands)}"
    if text == "Missing command":
        return f"{where}needs one of {', '.join(command.commands)}. {explained}"
    if found := re.match(r"Missing (?:argument|option) (.*)", text):
        meaning = (getattr(error.param, "help", "") or "").rstrip(".")
        name = found[1].partition(". Choose")[0].replace("'", "")
        return f"{where}{name} is missing{f' ({meaning})' if meaning else ''}. {explained}"
    if found := re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", text):
        return f"{where}too many arguments: '{found[1]}'. {explained}"
    if found := re.match(r"Option '(.*?)' requires an argument", text):
        return f"{where}{found[1]}: requires a value. {explained}"
    if found := re.match(r"Option '(.*?)' does not take a value", text):
        return f"{where}{found[1]}: takes no value. {explained}"
    if found := re.match(r"Invalid value for (.*?): (.*)", text):
        wrong = re.sub(r"^Input should be", "must be", found[2]).partition(", unable to parse")[0]
        return f"{where}{found[1].replace(chr(39), '')}: {wrong}. {explained}"
    return f"{where}{text}. {explained}"
