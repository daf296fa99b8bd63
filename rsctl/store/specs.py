"""Reads `spec.json` of a run."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from rsctl.config.runs import Spec, parse_spec
from rsctl.errors import InputError, RefusedError
from rsctl.store.fields import SPEC
from rsctl.store.files import read_json
from rsctl.store.records import UnreadableRecord, first_problem

SCHEMA = 1


def read_spec(file: Path) -> Spec:
    stored = read_json(file, SPEC)
    if stored["schema"] != SCHEMA:
        raise InputError(
            f"{file}: has schema {stored['schema']!r}; this version of rsctl reads {SCHEMA}. Install the version that wrote it."
        )
    try:
        spec = parse_spec(stored["spec"])
        found = spec.hash
    except ValidationError as error:
        raise UnreadableRecord(
            file, f"this version of rsctl can't read this spec: {first_problem(error)}"
        ) from error
    except (KeyError, ValueError, TypeError) as error:
        raise UnreadableRecord(file, f"this version of rsctl can't read this spec: {error}") from error
    if found != stored.get("hash"):
        raise RefusedError(
            f"{file}: its content doesn't match its hash: it was edited. Restore it, or move the run away and submit again."
        )
    return spec
