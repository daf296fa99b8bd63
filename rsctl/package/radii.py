"""Compares the radii, labels and classes that a package states for each image with those that its rows give."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.certificates import certificates
from rsctl.package.consistency import Discrepancy
from rsctl.package.tables import radii_of
from rsctl.store.degenerate import FILE as SEEN_FILE
from rsctl.store.digest import Corrupt
from rsctl.store.fields import SEEN
from rsctl.store.layout import Run
from rsctl.store.plan_fields import PlanEntry
from rsctl.store.records import read_or_skip
from rsctl.store.strangers import read_data_file
from rsctl.store.tables import reader_of
from rsctl.store.tally import shown_by
from rsctl.text import counted

_RELATIVE = 1e-9
_NAMED = 3
"""Most images of a run that are named."""


def compare_radii(run: Run, entries: Iterable[PlanEntry]) -> tuple[list[Discrepancy], int]:
    """The differences of a run's images, and the number of images compared."""
    table = reader_of(run).read()
    if not len(table.rows):
        return [], 0
    where = f"runs/{run.key}/certified.h5"
    try:
        arrays = (content := read_data_file(run.path / "certified.h5")).arrays
    except (Corrupt, OSError):
        return [
            Discrepancy(
                where, "isn't in the package, or can't be read: the radii of its images aren't stated."
            )
        ], 0
    found = _tally_differs(run, table.rows)
    if content.attributes.get("spec_hash") != run.spec.hash:
        found.append(Discrepancy(where, "belongs to another run."))
    index, label = arrays.get("index", np.empty(0)), arrays.get("label", np.empty(0))
    if (
        index.shape != table.rows.index.shape
        or (index != table.rows.index).any()
        or label.shape != index.shape
    ):
        return [
            *found,
            Discrepancy(
                where,
                f"states {counted(len(index), 'image')}, but the rows are those of {counted(len(table.rows), 'image')}, or of others.",
            ),
        ], 0
    found += _images(where, index, "label", label, table.rows.label)
    alpha, derived = radii_of(run, table, entries)
    if content.attributes.get("alpha") != alpha:
        found.append(
            Discrepancy(
                where,
                f"was certified at alpha = {content.attributes.get('alpha')}, but the sweep's is {alpha}.",
            )
        )
    stated = dict.fromkeys(path.rpartition("/")[0] for path in arrays if "/" in path)
    for name in [name for name in stated if name not in derived] + [
        name for name in derived if name not in stated
    ]:
        found.append(Discrepancy(where, _unmatched(name, name in stated)))
    for name, (radius, predicted) in derived.items():
        if name in stated:
            found += _images(where, index, f"class by {name}", arrays.get(f"{name}/predicted"), predicted)
            found += _images(where, index, f"radius by {name}", arrays.get(f"{name}/radius"), radius)
    return found, len(index)


def _unmatched(name: str, stated: bool) -> str:
    if not stated:
        return f"states no radii of {name}, which the sweep requests."
    if name not in certificates():
        return f"states radii of {name}, a certificate that isn't known here: install the plugin that declares it."
    return f"states radii of {name}, which isn't proved for these counts, or which the sweep doesn't request."


def _images(
    where: str, index: NDArray[Any], what: str, stated: NDArray[Any] | None, derived: NDArray[Any]
) -> list[Discrepancy]:
    if stated is None or stated.shape != derived.shape:
        return [Discrepancy(where, f"has no {what} for every image.")]
    if derived.dtype.kind == "f":
        differ = ~np.isclose(stated, derived, rtol=_RELATIVE, atol=0)
    else:
        differ = stated != derived
    rows = np.flatnonzero(differ)
    named = [
        Discrepancy(
            where, f"image {index[row]}: its {what} is {stated[row]:g}, but the rows give {derived[row]:g}."
        )
        for row in rows[:_NAMED]
    ]
    if len(rows) > _NAMED:
        named.append(Discrepancy(where, f"{counted(len(rows) - _NAMED, 'more image')} differ in the {what}."))
    return named


def _tally_differs(run: Run, rows: Any) -> list[Discrepancy]:
    """Compare the images by class that the run recorded when it was sampled."""
    seen, now = read_or_skip(run.path / SEEN_FILE, SEEN), shown_by(rows)
    if (
        seen is None
        or not now.images
        or sum(seen["labels"]) + seen.get("abstained", 0) != now.images + now.abstained
    ):
        return []
    found = []
    for name in ("labels", "predicted", "right"):
        stated, derived = seen[name], list(getattr(now, name))
        for number in range(max(len(stated), len(derived))):
            a, b = (values[number] if number < len(values) else 0 for values in (stated, derived))
            if a != b:
                what = {
                    "labels": "with label",
                    "predicted": "predicted as",
                    "right": "correctly predicted as",
                }[name]
                found.append(
                    Discrepancy(
                        f"runs/{run.key}/{SEEN_FILE}",
                        f"counts {a} images {what} {number}, but the rows have {b}.",
                    )
                )
    return found
