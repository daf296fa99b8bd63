"""Reads and computes the data of the results mode, on a background thread."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.message_pump import MessagePump

from rsctl.modules import module_command
from rsctl.text import counted
from rsctl.tui.background import Result
from rsctl.tui.read_only import changes
from rsctl.tui.views import Curve, ImageView, RunView

if TYPE_CHECKING:
    from rsctl.catalog.labels import Labels
    from rsctl.store.layout import Store
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


class Computed(Result):
    """Curves of some runs; more follow until `last`, which has the certificates that refuse every table, with reasons."""

    def __init__(
        self, question: Question, curves: dict[str, Curve], last: bool, refused: dict[str, str] | None = None
    ) -> None:
        super().__init__()
        self.question, self.curves, self.last, self.refused = question, curves, last, refused or {}


class Known(Result):
    """All certificates with their texts, and published tables by data set."""

    def __init__(self, certificates: dict[str, str], baselines: dict[str, list[Baseline]]) -> None:
        super().__init__()
        self.certificates, self.baselines = certificates, baselines


class Sampled(Result):
    """The images of a run; `folder` is the run's, for drawing pictures, None for a log."""

    def __init__(
        self, title: str, samples: list[ImageView], about: str, labels: Labels, folder: Path | None
    ) -> None:
        super().__init__()
        self.title, self.samples, self.about, self.labels, self.folder = title, samples, about, labels, folder


class Pictured(Result):
    """The pictures of an image (`jobs.picture`), or the problem that prevented them."""

    def __init__(self, position: int, values: dict[str, Any], problem: str) -> None:
        super().__init__()
        self.position, self.values, self.problem = position, values, problem


class Exported(Result):
    """A table was written, or a problem prevented it."""

    def __init__(self, text: str, problem: str) -> None:
        super().__init__()
        self.text, self.problem = text, problem


class Kinds(Result):
    """All kinds of figures, each with a description."""

    def __init__(self, kinds: list[tuple[str, str]]) -> None:
        super().__init__()
        self.kinds = kinds


class RunsCompared(Result):
    """The comparison of two runs."""

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self.title, self.text = title, text


class ResultsReader:
    """Computes results; used only on the background thread `results`, except for `wanted`."""

    def __init__(self, to: MessagePump) -> None:
        self._to = to
        self._curves: Curves | None = None
        self._sent: tuple[Question, dict[str, Curve]] | None = None
        self.wanted: Question | None = None
        """The request that the screen shows now: work on any other is abandoned."""

    @property
    def curves(self) -> Curves:
        if self._curves is None:
            from rsctl.tui.curves import Curves

            self._curves = Curves()
        return self._curves

    def known(self) -> Known:
        from rsctl.certificates import certificates
        from rsctl.report.baselines import published_tables

        found: dict[str, list[Baseline]] = {}
        for table in published_tables().values():
            rows = []
            for row in table.rows:
                pairs = [
                    (radius, percent / 100)
                    for radius, percent in zip(table.radii, row.certified, strict=True)
                    if percent is not None
                ]
                if pairs:
                    radii, accuracy = zip(*pairs, strict=True)
                    rows.append((row.method, row.sigma, radii, accuracy))
            found.setdefault(str(table.values["dataset"]), []).append(
                Baseline(table.name, table.heading, tuple(rows))
            )
        abouts = {name: getattr(one, "about", "") for name, one in certificates().items()}
        return Known(abouts, found)

    def compute(self, store: str, question: Question, runs: Sequence[RunView]) -> Result | None:
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
                self._to.post_message(Computed(question, fresh, False))
                fresh = {}
        self._sent = (question, everything)
        if not fresh and before.keys() == everything.keys():
            return None
        return Computed(question, fresh, True, self.curves.refused(runs))

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
            spec, parameters = Run(folder).table_spec, Run(folder).launch()["dataset_parameters"]
        labels = labels_of(spec.dataset, parameters, spec.split, load_settings().data)
        about = f"{certificate}, alpha = {alpha:g}" if alpha else certificate
        return Sampled(run.title, samples, about, labels, folder)


def pictures(folder: Path, position: int) -> Pictured:
    """Draw an image of a run; torch is loaded in a separate process."""
    from rsctl.config.settings import load_settings

    command = module_command("jobs.picture", str(folder), str(position), "--data", str(load_settings().data))
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip() or "drawing failed without a message"
        return Pictured(position, {}, reason.splitlines()[-1])
    return Pictured(position, json.loads(done.stdout), "")


@changes
def export(question: Question, runs: Sequence[str], said: str, form: str, file: str) -> Exported:
    """Write the sweep's table, or its logs into a folder; only files that rsctl wrote are overwritten.

    Limited to these `runs`, by id, if there are any; `said` describes them in a note.
    """
    from rsctl.report.output import write
    from rsctl.report.tables.formats import render
    from rsctl.results.sweep import sweep_results

    def save(store: Store, path: Path, choice: dict[str, Any]) -> str:
        if form == "tsv":
            from rsctl.report.radius_logs.export_logs import export_logs

            written, _ = export_logs(store, question.sweep, path, **choice)
            return f"written: {counted(len(written), 'log')} into {path}"
        write(path, form, render(sweep_results(store, question.sweep, **choice), form).encode())
        return f"written: {path}"

    return _saved(question, runs, said, file, save)


@changes
def figure(question: Question, runs: Sequence[str], said: str, kind: str, file: str) -> Exported:
    """Draw one kind of figure of the sweep; otherwise like `export`."""
    from rsctl.report.figures.draw import plot

    def save(store: Store, path: Path, choice: dict[str, Any]) -> str:
        return "\n".join([f"written: {path}", *plot(store, question.sweep, path, kind=kind, **choice)])

    return _saved(question, runs, said, file, save)


def _saved(
    question: Question, runs: Sequence[str], said: str, file: str, save: Callable[[Store, Path, dict[str, Any]], str]
) -> Exported:  # fmt: skip
    from rsctl.config.settings import load_settings
    from rsctl.errors import RefusedError, UserError
    from rsctl.results.row_filter import RowFilter
    from rsctl.store.layout import Store

    path = Path(file).expanduser().absolute()
    choice = {
        "certificate": question.certificate or None,
        "alpha": question.alpha or None,
        "only": RowFilter(runs=runs, said=said),
    }
    try:
        return Exported(save(Store(load_settings().store), path, choice), "")
    except RefusedError:
        return Exported(
            "", f"{path}: exists and wasn't written by rsctl, or was edited since; choose another name."
        )
    except (UserError, OSError) as error:
        return Exported("", str(error))


def figure_kinds() -> Kinds:
    """The kinds of figures, with a sentence each."""
    from rsctl.report.figures.plots import KINDS

    return Kinds([(name, str(draw.__doc__)) for name, draw in KINDS.items()])


def compare_runs(question: Question, first: RunView, second: RunView) -> RunsCompared:
    """Test the difference of two runs, under the requested certificate and alpha if they have counts."""
    from rsctl.config.settings import load_settings
    from rsctl.report.compare.pairs import compare, comparison_text
    from rsctl.results.opening import open_run
    from rsctl.store.layout import Store

    store = Store(load_settings().store)
    a, b = (
        open_run(
            store,
            str(store.root / run.entry["kind"] / run.counts),
            question.certificate or None,
            question.alpha or None,
        )
        for run in (first, second)
    )
    return RunsCompared(f"{first.title} against {second.title}", comparison_text(compare(store, a, b)))
