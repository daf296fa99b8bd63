"""Notifications for a user in another window: the terminal's bell, and a desktop notification.

Over SSH only the terminal can reach the desktop: OSC 9 (iTerm2, kitty, WezTerm, Ghostty, foot) or OSC 777 (rxvt), which
others ignore. tmux lets it through where `allow-passthrough` is on, and shows the bell in any case.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping

from rsctl.plain import plain
from rsctl.text import counted
from rsctl.tui.views import OPEN_STATES, Overview, SweepView


def through_terminal(title: str, text: str, environment: Mapping[str, str]) -> str:
    """The escape sequence for a notification; empty for a terminal that would print it."""
    kind = environment.get("TERM", "")
    if kind in ("", "dumb", "linux"):
        return ""
    title, text = (plain(part, 200).replace(";", ",") for part in (title, text))
    if kind.startswith("rxvt"):
        sequence = f"\x1b]777;notify;{title};{text}\x07"
    else:
        sequence = f"\x1b]9;{title}: {text}\x07"
    inside = sequence.replace("\x1b", "\x1b\x1b")
    if environment.get("TMUX"):
        return f"\x1bPtmux;{inside}\x1b\\"
    return f"\x1bP{sequence}\x1b\\" if environment.get("STY") else sequence


def on_this_desktop(environment: Mapping[str, str]) -> bool:
    """True if notify-send reaches the desktop that shows this terminal."""
    here = environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    remote = environment.get("SSH_CONNECTION") or environment.get("SSH_TTY")
    return bool(here and not remote and shutil.which("notify-send"))


def notify_send(title: str, text: str) -> None:
    """Send a desktop notification; may block, and a failure is ignored."""
    try:
        subprocess.run(
            ["notify-send", "--app-name=rsctl", "--", plain(title, 200), plain(text, 600)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return


def ended(before: Overview | None, now: Overview) -> list[tuple[str, str]]:
    """Sweeps whose last open task ended between two polls: name and message."""
    if before is None:
        return []
    went_on = {sweep.name for sweep in before.sweeps if not _over(sweep)}
    found = []
    for sweep in now.sweeps:
        if sweep.name in went_on and _over(sweep):
            states = sweep.progress.states
            bad, total = sum(states.values()) - states.get("done", 0), sum(states.values())
            text = "all tasks are done" if not bad else f"ended, {bad} of {counted(total, 'task')} not done"
            found.append((sweep.name, text))
    return found


def _over(sweep: SweepView) -> bool:
    return not any(state in sweep.progress.states for state in OPEN_STATES)
