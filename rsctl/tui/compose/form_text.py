"""Converts a field's value to text and back."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal

import tomli
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from rsctl.config.sections import fraction
from rsctl.config.toml_text import to_value
from rsctl.errors import InputError

Parse = Callable[[str], tuple[Any, bool]]
"""Text → (value, whether it is a list for the grid); raises InputError with what is allowed."""


def shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(entry) for entry in value)
    return to_value(value)


def choices(annotation: Any) -> list[str]:
    """The allowed values of a type that has finitely many."""
    if annotation is bool:
        return ["true", "false"]
    if typing.get_origin(annotation) is Literal:
        return [str(choice) for choice in typing.get_args(annotation)]
    return []


def _takes_text(annotation: Any) -> bool:
    if isinstance(annotation, BeforeValidator):
        return annotation.func is fraction  # "2/255" is a number
    if annotation is str or typing.get_origin(annotation) is Literal:
        return annotation is str or any(isinstance(choice, str) for choice in typing.get_args(annotation))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, list, Annotated):
        return any(_takes_text(part) for part in typing.get_args(annotation))
    return False


def parser(info: FieldInfo, many: bool, once: bool) -> Parse:
    """Text → (value, whether it is a list for the grid); raises InputError with what is allowed."""
    kind: Any = Annotated[info.annotation, info]
    adapter: TypeAdapter[Any] = TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))
    text_allowed = _takes_text(info.annotation)

    def valid(value: Any) -> Any:
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            found = error.errors(include_url=False)
            # pydantic has an error for each type that a value may be of.
            said = [one["msg"] for one in found if one["input"] == value] or [found[0]["msg"]]
            message = " or ".join([said[0], *(one.removeprefix("Input should be ") for one in said[1:])])
            message = message.removeprefix("Value error, ")
            raise InputError(f"{shown(value)}: {message[0].lower()}{message[1:]}.") from error
        return value

    def parse(text: str) -> tuple[Any, bool]:
        if many:
            return valid(_read_list(text, text_allowed)), False
        value = _read(text, text_allowed)
        if isinstance(value, list) and not once:
            return [valid(entry) for entry in value], True
        return valid(text if once else value), False

    return parse


def names_parser() -> Parse:
    def parse(text: str) -> tuple[Any, bool]:
        names = [part.strip() for part in text.split(",")]
        return (names, True) if len(names) > 1 else (text, False)

    return parse


def _read(text: str, text_allowed: bool) -> Any:
    """Parses a TOML value; several separated by commas are a list."""
    for candidate in (text, f"[{text}]" if "," in text else ""):
        if candidate:
            try:
                return tomli.loads(f"value = {candidate}")["value"]
            except tomli.TOMLDecodeError:
                continue
    if text_allowed:
        return [part.strip() for part in text.split(",")] if "," in text else text
    raise InputError(
        f"'{text}' is not a value such as 0.5, 10 or true; several separated by commas form a grid."
    )


def _read_list(text: str, text_allowed: bool) -> list[Any]:
    value = _read(text, text_allowed)
    return value if isinstance(value, list) else [value]


def whole(parse: Parse) -> Parse:
    """Several values are one value, a list: these tables have no grid."""

    def one(text: str) -> tuple[Any, bool]:
        return parse(text)[0], False

    return one


def single(parse: Parse) -> Parse:
    def one(text: str) -> tuple[Any, bool]:
        value, in_grid = parse(text)
        if in_grid:
            raise InputError(f"'{text}': only one value is allowed here; add another table to compare.")
        return value, False

    return one
