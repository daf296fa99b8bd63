"""Draws some images of a package again, with its weights and the data of this machine, and compares their counts.

Where the executed function is the same (device, precision, tile, versions), the counts must be equal. Elsewhere a network may round
differently, and each image is tested: for every class, Fisher's exact test on its share of the draws, at level `LEVEL` over all
images, classes and both phases together (Bonferroni). Both samples have the same noise, which brings them closer than independent ones:
the test raises a false alarm even more rarely.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.catalog import plugins
from rsctl.config.runs import CountSpec
from rsctl.config.settings import load_settings
from rsctl.errors import InputError, UnavailableError
from rsctl.modules import module_command
from rsctl.package.compose import place, put
from rsctl.package.consistency import Discrepancy
from rsctl.plain import plain
from rsctl.store.attempts import latest_attempt
from rsctl.store.files import to_json
from rsctl.store.layout import Run, Store
from rsctl.store.rows import Rows
from rsctl.store.tables import StoredTable, read_table
from rsctl.text import counted

LEVEL = 0.001
"""Probability of a false alarm, over all images of a package."""
_TILE = "tile.json"


@dataclass(frozen=True)
class Pair:
    """An image as it was drawn, and as it was drawn again."""

    run: Run
    image: int
    same_function: bool
    counts: tuple[NDArray[Any], NDArray[Any]]
    selection: tuple[NDArray[Any], NDArray[Any]]


def draw_again(store: Store, number: int, folder: Path) -> tuple[list[Discrepancy], dict[str, Any]]:
    """Draw so many images of every table of counts again, chosen at random; `folder` is for the draws.

    Raises InputError without weights, UnavailableError where a task fails here.
    """
    pairs: list[Pair] = []
    for run in store.runs("counts"):
        before = read_table(run)
        if not len(before.rows):
            continue
        if not store.model(run.count_spec.model_run).model_file.exists():
            raise InputError(
                "--redraw: the package has no weights. Its author can add them: `rsctl pack SWEEP --weights`."
            )
        drawn = before.rows.index[before.rows.drawn].tolist()
        images = random.SystemRandom().sample(drawn, min(number, len(drawn)))
        if images:
            pairs += _pairs(run, before, _sampled(run, before, images, folder))
    findings = [finding for pair in pairs if (finding := _compared(pair, len(pairs)))]
    equal = sum(pair.same_function for pair in pairs)
    sentence = (
        f"{counted(len(pairs), 'image')} drawn again agree"
        if not findings
        else f"{len(findings)} of {counted(len(pairs), 'image')} drawn again differ"
    )
    how = [f"{equal} by equal counts"] * bool(equal) + [
        f"{len(pairs) - equal} by a two-sample test at level {LEVEL:g}"
    ] * (equal < len(pairs))
    values = {
        "images": len(pairs), "same_function": equal, "level": LEVEL, "sentence": f"{sentence} ({', '.join(how)})" if pairs else "no image was drawn again",
        "drawn": {run.id: [pair.image for pair in pairs if pair.run is run] for run in dict.fromkeys(pair.run for pair in pairs)},
    }  # fmt: skip
    return findings, values


def _sampled(run: Run, before: StoredTable[Rows], images: Sequence[int], folder: Path) -> StoredTable[Rows]:
    """The rows of these images, drawn on this machine by a task of its own process."""
    spec, place_here = run.count_spec, load_settings()
    again = Store(folder)
    if spec.needed:
        # Its images have draws, whatever the earlier levels of its cascade decide on this machine.
        spec, again = CountSpec.model_validate({**spec.model_dump(), "needed": None}), Store(folder / run.id)
    model, copy = again.model(spec.model_run), again.create(spec)
    if not model.path.exists():
        put(model.path / "spec.json", (run.store.model(spec.model_run).path / "spec.json").read_bytes())
        place(run.store.model(spec.model_run).model_file, model.model_file)
    launch = {
        **run.launch(), "gpus": 0, "data": str(place_here.data), "plugins": list(plugins()), "dataset_parameters": spec.dataset_parameters,
    }  # fmt: skip
    put(copy.path / "launch.json", to_json(launch))
    put(copy.task_file(0), to_json({"stage": run.kind.stage, "images": list(images)}))
    if spec.tile == "auto":
        put(
            copy.path / _TILE,
            to_json({"tile": before.functions[int(before.rows.fingerprint[0])].get("tile")}),
        )
    done = subprocess.run(
        module_command("rsctl.cluster.task", str(copy.path), "0"), cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    attempt = latest_attempt(copy, 0)
    if done.returncode or attempt is None or attempt.ended != "done":
        reason = attempt.reason if attempt and attempt.reason else done.stderr.strip().rpartition("\n")[2]
        raise UnavailableError(
            f"{run.id}: can't be drawn again here: {plain(reason.replace(f'{again.root}/', ''), 500).rstrip('.')}."
        )
    return read_table(copy)


def _pairs(run: Run, before: StoredTable[Rows], after: StoredTable[Rows]) -> list[Pair]:
    found = []
    for row, image in enumerate(after.rows.index.tolist()):
        old = int(np.searchsorted(before.rows.index, image))
        functions = (
            before.functions[int(before.rows.fingerprint[old])],
            after.functions[int(after.rows.fingerprint[row])],
        )
        same = functions[0] == functions[1]
        counts = _counts(before, old, whole=same), _counts(after, row, whole=same)
        found.append(
            Pair(
                run,
                image,
                same,
                counts,
                (before.rows.selection_counts[old], after.rows.selection_counts[row]),
            )
        )
    return found


def _counts(table: StoredTable[Rows], row: int, *, whole: bool) -> NDArray[Any]:
    """The estimation counts of an image; of a sequential table those at its first look, which no draw decided about."""
    looks = table.rows.extras.get("looks")
    counts: NDArray[Any] = table.rows.counts[row] if whole or looks is None else looks["counts"][row, 0]
    return counts


def _compared(pair: Pair, images: int) -> Discrepancy | None:
    where = f"runs/{pair.run.key}"
    if pair.same_function:
        if all((old.shape == new.shape and (old == new).all()) for old, new in (pair.counts, pair.selection)):
            return None
        return Discrepancy(
            where,
            f"image {pair.image}: drawn again on the same function, {_difference(pair.counts)}; they must be equal.",
        )
    p = min(p_value(*pair.counts), p_value(*pair.selection))
    if p >= LEVEL / (2 * images):
        return None
    return Discrepancy(
        where,
        f"image {pair.image}: drawn again, {_difference(pair.counts)}: p = {p:.2g}, below {LEVEL:g} / {2 * images} (two-sample test).",
    )


def _difference(counts: tuple[NDArray[Any], NDArray[Any]]) -> str:
    old, new = counts
    if old.shape != new.shape:
        return f"it has {len(new)} classes, not {len(old)}"
    worst = int(np.abs(new.astype(np.int64) - old).argmax())
    return f"class {worst} has {new[worst]} of {new.sum()} draws, not {old[worst]} of {old.sum()}"


def p_value(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Probability, at most, that two samples (C,) from one distribution differ so much in the share of any class.

    Fisher's exact test per class, times the number of classes.
    """
    from scipy.stats import fisher_exact

    if one.shape != other.shape:
        return 0.0
    totals = int(one.sum()), int(other.sum())
    found = [
        float(fisher_exact([[int(a), totals[0] - int(a)], [int(b), totals[1] - int(b)]]).pvalue)
        for a, b in zip(one, other, strict=True)
        if a or b
    ]
    return min(1.0, min(found, default=1.0) * len(one))
