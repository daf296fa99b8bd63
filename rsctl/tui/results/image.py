"""One image of a run: clean and with its first noises, and the prediction for each."""

from __future__ import annotations

import base64
import os
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from rsctl.catalog.labels import Labels
from rsctl.plain import plain
from rsctl.tui.background import Receiver
from rsctl.tui.results.pictures import picture
from rsctl.tui.results.rows import four
from rsctl.tui.views import ImageView


class ImageScreen(Receiver, ModalScreen[None]):
    """Shows facts about the image at once, and its pictures when torch has drawn them."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (116, "-wide")]
    BINDINGS: ClassVar[list[BindingType]] = [("escape,ctrl+g,q", "dismiss", "Close")]

    def __init__(self, title: str, sample: ImageView, labels: Labels) -> None:
        super().__init__()
        self._title, self._sample, self._labels = title, sample, labels

    def compose(self) -> ComposeResult:
        with Vertical(id="image") as box:
            box.border_title = Text(f"{self._title} · image {self._sample.index}")
            box.border_subtitle = "q or Esc closes"
            with Horizontal(id="image-top"):
                yield Static(self._facts(), id="image-facts")
            yield Static("drawing …", id="image-note", markup=False)
            yield Horizontal(id="image-draws")

    def _called(self, label: int) -> str:
        return plain(self._labels.name(label), 40)

    def _facts(self, clean: int | None = None) -> Text:
        one, text = self._sample, Text()
        said = "abstains" if one.predicted < 0 else self._called(one.predicted)
        told = [
            ("file", plain(self._labels.file(one.index), 300)),
            ("label", self._called(one.label)),
            ("smoothed classifier", said + (" (wrong)" if one.predicted not in (-1, one.label) else "")),
            ("network, no noise", "" if clean is None or clean < 0 else self._called(clean)),
            ("radius", four(one.radius) if one.predicted >= 0 else ""),
            ("top count", f"{one.first:,} of {one.n:,}" if one.n else ""),
            ("second", f"{one.second:,}" if one.n else ""),
        ]
        for name, value in told:
            if value:
                text.append(f"{name}  ", "dim")
                text.append(f"{value}\n")
        return text

    def refuse(self, problem: str) -> None:
        """Show why there are no pictures."""
        self.query_one("#image-note", Static).update(plain(problem, 600))

    def show(self, values: dict[str, Any]) -> None:
        """Show the pictures beside the facts."""
        if not self.is_mounted:
            return
        self.query_one("#image-facts", Static).update(self._facts(int(values["clean"])))
        self.query_one("#image-top", Horizontal).mount(_shown(values["image"]), before=0)
        told = "The first noisy copies of the estimation, and the predicted class of each:"
        self.query_one("#image-note", Static).update(told if values["draws"] else "")
        for draw in values["draws"]:
            style = "green" if int(draw["class"]) == self._sample.label else "red"
            caption = Static(Text(self._called(int(draw["class"])), style), markup=False)
            shown = Vertical(_shown(draw["image"]), caption, classes="draw")
            self.query_one("#image-draws", Horizontal).mount(shown)


def _shown(png: str) -> Any:
    widget = picture(base64.b64decode(png), os.environ)
    widget.add_class("picture")
    return widget
