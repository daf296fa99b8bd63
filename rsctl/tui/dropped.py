"""Confirmation for open tasks that an update dropped: they keep running, and cost, unless cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rsctl.text import counted
from rsctl.tui import actions
from rsctl.tui.mode import ModeScreen

MOST = 8


def confirm_dropped(screen: ModeScreen, keys: Sequence[str]) -> None:
    """Offer to stop the tasks with these keys, if there are any."""
    if not keys:
        return
    it = "it" if len(keys) == 1 else "them"
    more = [f"… and {len(keys) - MOST} more"] if len(keys) > MOST else []
    listed = "\n".join([*keys[:MOST], *more])
    text = f"No sweep needs {it} any more. Work done so far is kept.\n\n{listed}"

    what = counted(len(keys), "dropped task")
    job = partial(actions.cancel, what, list(keys))

    def stop() -> None:
        screen.background.submit(f"act {what}", job, screen, lambda done: screen.report(done.text))

    screen.confirm(f"Stop {counted(len(keys), 'task')}?", text, f"Stop {it}", stop, f"Let {it} run")
