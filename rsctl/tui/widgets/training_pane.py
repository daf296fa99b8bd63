"""Loss, accuracy and learning rate while they come in."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.timer import Timer

from rsctl.tui.views import TrainingCurve
from rsctl.tui.widgets.certified import PATIENCE
from rsctl.tui.widgets.chart import COLOURS, Chart, Series
from rsctl.tui.widgets.styles import Lines, component

NAMES = {"loss": "Training loss", "accuracy": "Training accuracy (under noise)", "lr": "Learning rate"}


class TrainingPane(Vertical):
    """One chart per value; the learning rate where there is room for a third."""

    def __init__(self, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._about = ""
        self._clearing: Timer | None = None

    def compose(self) -> ComposeResult:
        with Container(id="training-charts"):
            for name in NAMES:
                yield Chart(id=f"training-{name}")
        yield Lines("", classes="facts", markup=False)

    def about(self, key: str) -> None:
        """Another row is under the cursor."""
        if key == self._about:
            return
        self._about = key
        if self._clearing is not None:
            self._clearing.stop()
        self._clearing = self.set_timer(PATIENCE, self._clear)

    def _clear(self) -> None:
        for chart in self.query(Chart):
            chart.show([], empty="reading the metrics …" if self._about else "")
        self.query_one(Lines).tell(Text())

    def show(self, curves: Sequence[TrainingCurve]) -> None:
        if self._clearing is not None:
            self._clearing.stop()
        drawn = [curve for curve in curves if curve.epochs]
        for name, title in NAMES.items():
            self.query_one(f"#training-{name}", Chart).show(
                [
                    Series(curve.title, curve.epochs, curve.values[name], colour=place % COLOURS)
                    for place, curve in enumerate(drawn)
                ],
                title=title,
                x_name="epoch",
                y_range=(0.0, 1.0) if name == "accuracy" else None,
                percent=name == "accuracy",
                empty="nothing was recorded yet",
            )
        text = Text()
        chart = self.query_one("#training-loss", Chart)
        for place, curve in enumerate(drawn):
            last = {name: values[-1] for name, values in curve.values.items()}
            text.append("\n━━ " if place else "━━ ", component(chart, f"chart--{place % COLOURS}"))
            text.append(curve.title)
            text.append(
                f"  epoch {curve.epochs[-1]:.1f}, loss {last['loss']:.3g}, accuracy {last['accuracy']:.1%}, lr {last['lr']:.3g}",
                "dim",
            )
        self.query_one(Lines).tell(text)
