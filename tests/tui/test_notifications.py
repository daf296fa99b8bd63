"""The end of a sweep is told to somebody who looks elsewhere."""

from __future__ import annotations

import pytest
from dashboard_store import Synthetic
from piloting import until

from rsctl.tui import app as app_module
from rsctl.tui.notifications import on_this_desktop, through_terminal


@pytest.mark.parametrize(
    ("environment", "sent"),
    [
        ({"TERM": "xterm-256color"}, "\x1b]9;rsctl s: done\x07"),
        ({"TERM": "rxvt-unicode"}, "\x1b]777;notify;rsctl s;done\x07"),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x"}, "\x1bPtmux;\x1b\x1b]9;rsctl s: done\x07\x1b\\"),
        ({"TERM": "screen", "STY": "1.x"}, "\x1bP\x1b]9;rsctl s: done\x07\x1b\\"),
        ({"TERM": "linux"}, ""),
        ({}, ""),
    ],
)
def test_each_terminal_gets_what_it_understands(environment, sent) -> None:
    assert through_terminal("rsctl s", "done", environment) == sent


def test_a_name_can_not_end_the_sequence() -> None:
    sent = through_terminal("a\x07\x1b[2J;b", "c\x1b\\d", {"TERM": "xterm"})
    assert sent.count("\x07") == 1
    assert sent.count("\x1b") == 1


def test_over_ssh_the_desktop_is_elsewhere(monkeypatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/notify-send")
    assert on_this_desktop({"DISPLAY": ":0"})
    assert not on_this_desktop({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "x"})
    assert not on_this_desktop({})


@pytest.mark.parametrize(("how", "bells"), [("desktop", 1), ("bell", 1), ("off", 0)])
def test_the_setting_holds(synthetic: Synthetic, drive, monkeypatch, how, bells) -> None:
    if how != "desktop":
        (synthetic.place.store.parent / "rsctl.toml").write_text(f'notify = "{how}"\n')
    rung, sent = [], []
    monkeypatch.setattr(app_module.Dashboard, "bell", lambda self: rung.append(1))
    monkeypatch.setattr(app_module, "on_this_desktop", lambda _environment: True)
    monkeypatch.setattr(app_module, "notify_send", lambda title, text: sent.append((title, text)))

    async def steps(app, pilot):
        synthetic.train(synthetic.models("going")[1])
        for run in synthetic.counts("going"):
            for task in run.task_numbers():
                synthetic.count(run, task)
        await until(pilot, lambda: any(n.title == "going" for n in app._notifications), "word of the end")
        await pilot.pause(0.1)
        assert len(rung) == bells
        assert sent == ([("rsctl going", "all tasks are done")] if how == "desktop" else [])

    drive(steps)
