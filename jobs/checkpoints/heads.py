"""Networks of other numbers of classes than the data set has."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from jobs.models.library import is_library


def other_head(model: str, wanted: Mapping[str, Tensor], entries: Mapping[str, Tensor], classes: int) -> str:
    """A sentence, where the entries of a file differ from the wanted ones in the number of outputs alone; empty otherwise."""
    differ = [key for key in wanted if key in entries and wanted[key].shape != entries[key].shape]
    outputs = {entries[key].shape[:1] for key in differ}
    alone = all(
        wanted[key].shape[:1] == (classes,) and wanted[key].shape[1:] == entries[key].shape[1:]
        for key in differ
    )
    if len(outputs) != 1 or not alone or not wanted.keys() <= entries.keys():
        return ""
    (number,) = outputs.pop()
    said = f" Its head has {number} outputs, and the data set {classes} classes."
    if number < classes or not is_library(model):
        return said
    return f"{said} --set model.head={number} --set 'model.outputs=[…]', the output of each class, takes it."
