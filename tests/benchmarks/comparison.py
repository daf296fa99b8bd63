"""What the comparisons of training methods share: sweeps run in this process, and means over seeds beside a baseline."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from scipy.special import stdtrit

from jobs.certify import count
from jobs.training import train
from rsctl.config.settings import Place, Settings
from rsctl.config.sweep import build_sweep
from rsctl.plan.commit import commit
from rsctl.plan.plan import make_plan
from rsctl.results.sweep import sweep_results
from rsctl.store.attempts import Claim, here
from rsctl.store.layout import Store
from rsctl.store.task_context import Stopped, TaskContext

METHODS = (
    "gaussian", "consistency", "smoothadv", "macer", "stability", "smoothmix", "cat-rs",
    "adre-reg", "sodm", "heat", "adre-adv",
)  # fmt: skip
ONE_THREAD = {"training": {"threads": 1, "gpus": 0}, "certification": {"threads": 1, "gpus": 0}}


@dataclass(frozen=True)
class Found:
    """One trained and certified model."""

    method: str
    sigma: float
    seed: int
    epochs: int
    images: int
    figures: tuple[float, ...]
    """Certified accuracy at each radius, then ACR."""
    cpu_seconds: float
    """Of the training task in this process; NaN where another process did it."""


def place_at(store: Path) -> Place:
    """A store of its own; data sets where RSCTL_DATA says."""
    return Place(
        settings=Settings(), file=None, store=store, data=Path(os.environ.get("RSCTL_DATA", store / "data"))
    )


class Limited(TaskContext):
    """Told to stop at a moment of this process's clock."""

    ends: float | None = None

    def stopping(self) -> str:
        if self.ends is not None and time.monotonic() > self.ends:
            self.request_stop("the time is up")
        return super().stopping()


def finish(
    values: dict[str, Any], place: Place, say: Callable[[str], None], ends: float | None = None
) -> bool:
    """Do every task of a sweep that isn't done, here, one after the other; a second call goes on.

    At `ends` (of the monotonic clock) the task under way is saved and stopped, and the answer is false.
    """
    plan = make_plan(build_sweep(values, "comparison", place.data), "comparison")
    for request in commit(plan, place, update=True).requests:
        task, started = request.task, (time.process_time(), time.perf_counter())
        claim = Claim.take(task.run, task.number, here())
        work = Limited(task.run, task.number, claim, place.data, task.run.launch())
        work.ends = ends
        try:
            with redirect_stdout(sys.stderr):
                (train if task.run.kind == "models" else count).main(work)
        except Stopped as stopped:
            claim.end("stopped", str(stopped))
            return False
        claim.end("done", "")
        cpu, wall = time.process_time() - started[0], time.perf_counter() - started[1]
        if task.run.kind == "models":
            note_cpu(place.store, task.run.id, cpu)
        say(f"{task.run.kind} {task.run.id}: {cpu:.0f} CPU-s, {wall:.0f} s")
    return True


def cpu_notes(store: Path) -> dict[str, float]:
    """CPU seconds of trainings, by run."""
    file = store / "cpu.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def note_cpu(store: Path, run: str, seconds: float) -> None:
    """Added to what earlier attempts took."""
    notes = cpu_notes(store)
    notes[run] = notes.get(run, 0.0) + seconds
    (store / "cpu.json").write_text(json.dumps(notes))


def found(place: Place, sweep: str, radii: Sequence[float]) -> list[Found]:
    """What is finished of a sweep."""
    notes = cpu_notes(place.store)
    return [
        Found(
            row.train.method, row.train.sigma, row.train.seed, row.train.recipe.epochs, row.images,
            (*(cell.accuracy for cell in row.cells), row.acr),
            notes.get(row.train.run_id, math.nan),
        )
        for row in sweep_results(Store(place.store), sweep, radii=radii).rows
        if row.complete and row.images
    ]  # fmt: skip


def summary(
    results: Sequence[Found], radii: Sequence[float], baseline: str = "gaussian"
) -> list[dict[str, Any]]:
    """One record per σ and method: mean and sd over seeds, and the paired difference from the baseline.

    The interval is Student's at 95 % over seeds, for differences of models with the same seed on the same images:
    what it says is of the method, trained anew. With one seed there is none. No correction for looking at many methods.
    """
    names = [*(f"r={radius:g}" for radius in radii), "acr"]
    records = []
    for sigma in sorted({one.sigma for one in results}):
        of_sigma = [one for one in results if one.sigma == sigma]
        base = {one.seed: one for one in of_sigma if one.method == baseline}
        for method in sorted({one.method for one in of_sigma}, key=_order):
            mine = [one for one in of_sigma if one.method == method]
            record: dict[str, Any] = {
                "sigma": sigma, "method": method, "seeds": len(mine), "images": sum(one.images for one in mine),
                "epochs": sorted({one.epochs for one in mine}),
                "training_cpu_seconds": round(fmean(one.cpu_seconds for one in mine), 1),
            }  # fmt: skip
            for number, name in enumerate(names):
                values = [one.figures[number] for one in mine]
                record[name] = {"mean": fmean(values), "sd": stdev(values) if len(values) > 1 else None}
                paired = [
                    one.figures[number] - base[one.seed].figures[number] for one in mine if one.seed in base
                ]
                if method != baseline and paired:
                    half = _half_width(paired)
                    record[name]["difference"] = fmean(paired)
                    record[name]["interval"] = half and [fmean(paired) - half, fmean(paired) + half]
            records.append(record)
    return records


def _order(method: str) -> int:
    return METHODS.index(method) if method in METHODS else len(METHODS)


def _half_width(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    return float(stdtrit(len(values) - 1, 0.975)) * stdev(values) / math.sqrt(len(values))


def print_summary(records: Sequence[dict[str, Any]], radii: Sequence[float]) -> None:
    """A table per σ. A difference whose interval leaves zero out is marked: + better, − worse than the baseline."""
    names = [*(f"r={radius:g}" for radius in radii), "acr"]
    for sigma in sorted({record["sigma"] for record in records}):
        print(
            f"\nsigma {sigma:g}: mean ± sd over seeds (difference from gaussian; + or - where its 95 % interval leaves 0 out)"
        )
        print(
            f"{'method':12} {'seeds':>5} {'epochs':>6} {'CPU-s':>6}  "
            + "  ".join(f"{name:>26}" for name in names)
        )
        for record in (one for one in records if one["sigma"] == sigma):
            cells = [_cell(record[name], 1.0 if name == "acr" else 100.0) for name in names]
            epochs = "/".join(map(str, record["epochs"]))
            print(
                f"{record['method']:12} {record['seeds']:5} {epochs:>6} {record['training_cpu_seconds']:6.0f}  "
                + "  ".join(f"{cell:>26}" for cell in cells)
            )


def _cell(value: dict[str, Any], scale: float) -> str:
    digits = 1 if scale == 100 else 3
    text = f"{value['mean'] * scale:.{digits}f}"
    if value["sd"] is not None:
        text += f" ± {value['sd'] * scale:.{digits}f}"
    if "difference" in value:
        mark = ""
        if value["interval"]:
            low, high = value["interval"]
            mark = "+" if low > 0 else "-" if high < 0 else ""
        text += f" ({value['difference'] * scale:+.{digits}f}{' ' + mark if mark else ''})"
    return text
