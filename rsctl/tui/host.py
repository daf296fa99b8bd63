"""The dashboard as its screens and parts see it."""

from __future__ import annotations

from typing import Any, Protocol

from rsctl.tui.background import Background
from rsctl.tui.views import Overview


class Host(Protocol):
    """The part of `rsctl.tui.app.Dashboard` that a screen may use; cast `self.app` to it."""

    background: Background
    overview: Overview | None
    form: Any
    """The draft of the compose mode, once that has been opened."""
    selected_sweep: str

    def show_age(self) -> None: ...

    def poll_now(self) -> None: ...
