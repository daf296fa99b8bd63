"""Waiting for the dashboard in a test: for its screen, and for what a background thread brings about."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from textual.geometry import Size

from rsctl.tui.app import Dashboard


def on_screen(app: Dashboard) -> list[str]:
    """The lines as they were drawn last: what was changed and not drawn anew isn't there."""
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips(Size(*app.size))]


async def settled(app: Dashboard) -> None:
    """Until every message is handled, also those that handling them led to, and what changed is laid out."""
    quiet, end = 0, time.monotonic() + 30
    while quiet < 5:
        assert time.monotonic() < end, "the dashboard doesn't come to rest: it may have ended with an error"
        await asyncio.sleep(0)
        busy = any(pump.message_queue_size for pump in (app, *app._registry))
        quiet = 0 if busy else quiet + 1
        if quiet == 3 and app.screen_stack:
            app.screen._on_timer_update()


async def until(pilot: Any, true: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Wait for something that a background thread brings about."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"in {seconds:.0f} s there was no {what}")
        await pilot.pause(0.02)
    await pilot.pause()
