"""The files that a command line names: those to take along, and those that it writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CommandParameter:
    """An option or argument of a command."""

    options: tuple[str, ...] = ()
    """Names of an option, such as `-o` and `--output`; none for an argument."""
    takes_value: bool = True
    is_path: bool = False
    repeated: bool = False
    """An argument that takes all that follow."""


@dataclass(frozen=True)
class NamedFile:
    """A path in a command line."""

    position: int
    """Index of the word that holds it."""
    prefix: str
    """Text before it in the word, such as `--output=`."""
    path: str
    is_output: bool


def named_files(words: Sequence[str], parameters: Sequence[CommandParameter]) -> Iterator[NamedFile]:
    """Find the paths among the words that follow a command's name, by the command's parameters.

    The path of `--output` is a file that the command writes; it reads those of arguments and other options.
    """
    options = {name: one for one in parameters for name in one.options}
    arguments = [one for one in parameters if not one.options]
    given, position, only_arguments = 0, 0, False
    while position < len(words):
        word = words[position]
        if only_arguments or not word.startswith("-") or word == "-":
            one = arguments[min(given, len(arguments) - 1)] if arguments else CommandParameter()
            if one.is_path and (given < len(arguments) or one.repeated):
                yield NamedFile(position, "", word, is_output=False)
            given += 1
        elif word == "--":
            only_arguments = True
        else:
            name, separator, value = word.partition("=")
            if not word.startswith("--") and len(word) > 2:
                name, separator, value = word[:2], word[:2], word[2:]
            known = options.get(name)
            if known and known.takes_value:
                if not separator:
                    position += 1
                    value = words[position] if position < len(words) else ""
                prefix = word[: len(word) - len(value)] if separator else ""
                if known.is_path and value:
                    yield NamedFile(position, prefix, value, is_output="--output" in known.options)
        position += 1
