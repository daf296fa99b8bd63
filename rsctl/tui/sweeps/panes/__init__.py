"""The panes of the panel beside the sweeps, one per file; `.github/ARCHITECTURE.md` shows how to add one."""

from __future__ import annotations

from rsctl.tui.sweeps.panes.curve import CertifiedPane
from rsctl.tui.sweeps.panes.details import DetailsPane
from rsctl.tui.sweeps.panes.log import LogPane
from rsctl.tui.sweeps.panes.pane import Pane
from rsctl.tui.sweeps.panes.training import TrainingPane

PANES: list[type[Pane]] = [CertifiedPane, TrainingPane, LogPane, DetailsPane]
"""In the order of their tabs; the first one is shown at the start."""
