"""Optional measurements of the estimation draws: one file each, with a `RECORDER` class.

What a recorder keeps of an image goes to the data file under the columns of its declaration: `rsctl/store/extras/`, or
`EXTRAS` of a plugin.
"""

from __future__ import annotations

import importlib

from jobs.certify.recorders.recorder import Recorder, Sampling
from rsctl.errors import InputError
from rsctl.store.extras import measured

__all__ = ["Recorder", "Sampling", "recorders_of"]


def recorders_of(sampling: Sampling) -> list[Recorder]:
    """The recorders of a run; raises InputError for a plugin's module without one."""
    found: list[Recorder] = []
    for extra in measured(sampling.spec):
        kind = getattr(importlib.import_module(extra.recorder), "RECORDER", None)
        if not (isinstance(kind, type) and issubclass(kind, Recorder)):
            raise InputError(
                f"{extra.recorder}: lacks a RECORDER, a class derived from jobs.certify.recorders.recorder.ExtraRecorder, "
                f"for the measurement '{extra.name}'."
            )
        found.append(kind.for_run(extra.name, sampling))
    return found
