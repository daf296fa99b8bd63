"""Reads and computes the data of the results mode, on a background thread."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from textual.message_pump import MessagePump

from rsctl.errors import InputError, RefusedError, UnavailableError
from rsctl.modules import module_command
from rsctl.text import counted
from rsctl.tui.background import Done
from rsctl.tui.read_only import changes
from rsctl.tui.views import Curve, ImageView, RunView

if TYPE_CHECKING:
    from rsctl.catalog.labels import Labels
    from rsctl.tui.curves import Curves

FORMATS = {
    "md": "Markdown", "csv": "CSV (one line per run and radius)", "latex": "LaTeX", "json": "JSON",
    "tsv": "Logs in Cohen's format, one per run, in a folder",
}  # fmt: skip
SUFFIXES = {"md": ".md", "csv": ".csv", "latex": ".tex", "json": ".json", "tsv": "-logs"}
_AT_ONCE = 8


@dataclass(frozen=True)
class Question:
    """A request for results: sweep, certificate and alpha; empty and 0 stand for the sweep's own."""

    sweep: str
    certificate: str
    alpha: float


@dataclass(frozen=True)
class Baseline:
    """A published table of the same data set."""

    name: str
    heading: str
    rows: tuple[tuple[str, float, tuple[float, ...], tuple[float, ...]], ...]
    """Method, σ, radii, certified accuracy in [0, 1]."""


class Computed(NamedTuple):
    """Curves of some runs; more follow until the last, which has the certificates that refuse every table, with reasons."""

    question: Question
    curves: dict[str, Curve]
    refused: dict[str, str] | None = None


class Known(NamedTuple):
    """All certificates with their texts, and published tables by data set."""

    certificates: dict[str, str]
    baselines: dict[str, list[Baseline]]


class Sampled(NamedTuple):
    """The images of a run; `folder` is the run's, for drawing pictures, None for a log."""

    title: str
    samples: list[ImageView]
    about: str
    labels: Labels
    folder: Path | None


class ResultsReader:
    """Computes results; used only on the background thread `results`, except for `wanted`."""

    def __init__(self, to: MessagePump, take: Callable[[Computed], object]) -> None:
        """`to` receives the curves of each request: it calls `take` with them."""
        self._to, self._take = to, take
        self._sent: tuple[Question, dict[str, Curve]] | None = None
        self.wanted: Question | None = None
        """The request that the screen shows now: work on any other is abandoned."""

    @cached_property
    def curves(self) -> Curves:
        from rsctl.tui.curves import Curves

        return Curves()

    def known(self) -> Known:
        from rsctl.certificates import certificates
        from rsctl.report.baselines import published_tables

        found: dict[str, list[Baseline]] = {}
        for table in published_tables().values():
            rows = []
            for row in table.rows:
                known = [pair for pair in zip(table.radii, row.certified, strict=True) if pair[1] is not None]
                if known:
                    radii, percents = zip(*known, strict=True)
                    rows.append((row.method, row.sigma, radii, tuple(percent / 100 for percent in percents)))
            found.setdefault(str(table.values["dataset"]), []).append(
                Baseline(table.name, table.heading, tuple(rows))
            )
        abouts = {name: getattr(one, "about", "") for name, one in certificates().items()}
        return Known(abouts, found)

    def compute(self, store: str, question: Question, runs: Sequence[RunView]) -> Computed | None:
        """Curves of every run, a few at a time; None if nothing changed since the last call."""
        before = self._sent[1] if self._sent and self._sent[0] == question else {}
        everything: dict[str, Curve] = {}
        fresh: dict[str, Curve] = {}
        for run in runs:
            if self.wanted != question:
                return None
            if run.problem:
                continue
            curve = self.curves.of(store, run, question.certificate or None, question.alpha or None)
            everything[run.key] = curve
            if before.get(run.key) is not curve:
                fresh[run.key] = curve
            if len(fresh) >= _AT_ONCE:
                self._to.post_message(Done(self._take, Computed(question, fresh)))
                fresh = {}
        self._sent = (question, everything)
        if not fresh and before.keys() == everything.keys():
            return None
        return Computed(question, fresh, self.curves.refused(runs))

    def sample(self, store: str, run: RunView, certificate: str, alpha: float) -> Sampled:
        from rsctl.catalog.labels import labels_of
        from rsctl.config.settings import load_settings
        from rsctl.store.imports import Import
        from rsctl.store.layout import Run

        samples = self.curves.samples(store, run, certificate, alpha)
        folder = None if run.imported else Path(store) / run.entry["kind"] / run.counts
        if folder is None:
            spec: Any = Import(Path(store) / "imports" / run.counts).spec
            parameters: dict[str, Any] = {}
        else:
            if run.derived:
                folder = (
                    Path(store) / run.entry["levels"][-1].key
                )  # labels and pictures are those of any level
            spec, parameters = Run(folder).table_spec, Run(folder).launch()["dataset_parameters"]
        labels = labels_of(spec.dataset, parameters, spec.split, load_settings().data)
        about = f"{certificate}, alpha = {alpha:g}" if alpha else certificate
        return Sampled(run.title, samples, about, labels, folder)


def pictures(folder: Path, position: int) -> dict[str, Any]:
    """The pictures of an image of a run (`jobs.picture`); torch is loaded in a separate process. Raises UnavailableError."""
    from rsctl.config.settings import load_settings

    command = module_command("jobs.picture", str(folder), str(position), "--data", str(load_settings().data))
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip() or "drawing failed without a message"
        raise UnavailableError(reason.splitlines()[-1])
    return dict(json.loads(done.stdout))


@changes
def export(question: Question, runs: Sequence[str], said: str, kind: str, file: str) -> str:
    """Write the sweep's table in one of `FORMATS`, its logs into a folder, or a kind of figure; returns a report and notes.

    Limited to these `runs`, by id, if there are any; `said` describes them in a note. Only files that rsctl wrote are
    overwritten.
    """
    from rsctl.config.settings import load_settings
    from rsctl.report.figures.draw import plot
    from rsctl.report.output import write
    from rsctl.report.radius_logs.export_logs import export_logs
    from rsctl.report.tables.formats import render
    from rsctl.results.row_filter import RowFilter
    from rsctl.results.sweep import sweep_results
    from rsctl.store.layout import Store

    path, store = Path(file).expanduser().absolute(), Store(load_settings().store)
    choice: dict[str, Any] = {
        "certificate": question.certificate or None,
        "alpha": question.alpha or None,
        "only": RowFilter(runs=runs, said=said),
    }
    notes: list[str] = []
    try:
        if kind == "tsv":
            written, _ = export_logs(store, question.sweep, path, **choice)
            return f"written: {counted(len(written), 'log')} into {path}"
        if kind in FORMATS:
            write(path, kind, render(sweep_results(store, question.sweep, **choice), kind).encode())
        else:
            notes = plot(store, question.sweep, path, kind=kind, **choice)
    except RefusedError as error:
        raise InputError(
            f"{path}: exists and wasn't written by rsctl, or was edited since; choose another name."
        ) from error
    return "\n".join([f"written: {path}", *notes])


def figure_kinds() -> list[tuple[str, str]]:
    """The kinds of figures, with a sentence each."""
    from rsctl.report.figures.plots import KINDS

    return [(name, str(draw.__doc__)) for name, draw in KINDS.items()]


def compare_runs(question: Question, first: RunView, second: RunView) -> str:
    """Test the difference of two runs, under the requested certificate and alpha if they have counts."""
    from rsctl.config.settings import load_settings
    from rsctl.report.compare.pairs import compare, comparison_text
    from rsctl.results.opening import open_run
    from rsctl.store.layout import Store

    store = Store(load_settings().store)
    under = (question.certificate or None, question.alpha or None)
    a, b = (
        open_run(
            store,
            run.counts if run.derived else str(store.root / run.entry["kind"] / run.counts),
            *under,
        )
        for run in (first, second)
    )
    return comparison_text(compare(store, a, b))
