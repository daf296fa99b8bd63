"""Loss, accuracy and learning rate, updated during training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container

from rsctl.tui.sweeps.panes.curve_pane import CurvePane
from rsctl.tui.sweeps.selection import Selection
from rsctl.tui.views import TrainingCurve
from rsctl.tui.widgets.chart import Chart, ChartLine
from rsctl.tui.widgets.styles import SERIES, TextBlock

if TYPE_CHECKING:
    from rsctl.tui.sweeps.training_files import Training

NAMES = {"loss": "Training loss", "accuracy": "Training accuracy (under noise)", "lr": "Learning rate"}


class TrainingPane(CurvePane):
    """One chart per value; the learning rate if there is room for a third."""

    KEY, TITLE, EMPTY = "t", "Training", "No epochs recorded."
    READING = "Reading the metrics …"

    def __init__(self) -> None:
        super().__init__()
        self._files: Training | None = None
        """Used only on the background thread."""

    def compose(self) -> ComposeResult:
        with Container(id="training-charts"):
            for name in NAMES:
                yield Chart(id=f"training-{name}")
        yield TextBlock("", classes="facts", markup=False)

    def load(self, selection: Selection) -> list[TrainingCurve] | None:
        from rsctl.tui.sweeps.training_files import Training

        if self._files is None:
            self._files = Training()
        models = {
            run.model: run.title
            for run in selection.runs
            if not (run.imported or (run.derived and len(selection.runs) > 1))
        }
        files, folder = self._files, selection.store / "models"
        found = [files.of(folder / model, title) for model, title in list(models.items())[:SERIES]]
        return found if selection.runs else None

    def show(self, data: Sequence[TrainingCurve]) -> None:
        self.arrived()
        drawn = [curve for curve in data if curve.epochs]
        for name, title in NAMES.items():
            self.query_one(f"#training-{name}", Chart).show(
                [
                    ChartLine(curve.title, curve.epochs, curve.values[name], colour=place % SERIES)
                    for place, curve in enumerate(drawn)
                ],
                title=title,
                x_name="epoch",
                y_range=(0.0, 1.0) if name == "accuracy" else None,
                percent=name == "accuracy",
                empty=self.EMPTY,
            )
        text = Text()
        for place, curve in enumerate(drawn):
            last = {name: values[-1] for name, values in curve.values.items()}
            text.append("\n" if place else "")
            self.legend(text, place, curve.title)
            text.append(
                f"  epoch {curve.epochs[-1]:.1f}, loss {last['loss']:.3g}, accuracy {last['accuracy']:.1%}, lr {last['lr']:.3g}",
                "dim",
            )
        self.query_one(TextBlock).show(text)
