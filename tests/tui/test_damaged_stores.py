"""The dashboard over damaged stores: it names what can't be read, and shows the rest."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dashboard_store import Synthetic
from piloting import on_screen, until

from rsctl.tui.app import Dashboard


def nested(path: Path) -> None:
    path.write_text('{"raw": ' + "[" * 100_000)


def text(data: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(data) and None


def edited(old: str, new: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        before = path.read_text()
        path.write_text(before.replace(old, new))
        assert path.read_text() != before

    return edit


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def look_again(made: Synthetic, path: Path) -> None:
    """What doesn't change in a healthy store is read again when plans or attempts change."""
    for one in (made.store.root / PLAN, path.parent / "tasks"):
        if one.exists():
            os.utime(one)


PLAN, SPEC, SEEN = "sweeps/finished/plan.json", "counts/*s0.5*/spec.json", "counts/*s0.5*/seen.json"
DAMAGES: list[tuple[str, Callable[[Path], None]]] = [
    (PLAN, nested), (SPEC, text("{")), (PLAN, pipe), (SEEN, text('{"training": 1}')),
    (PLAN, text("[]")), (PLAN, text("\xff")), (PLAN, link), (PLAN, folder), (PLAN, edited('"kind": "counts"', '"kind": 5')),
    (PLAN, edited('"alpha": 0.001', '"alpha": 0.5')), (PLAN, edited('"skip": 1', '"skip": 0')), (PLAN, text('{"entries": [' + "{}," * 100_000 + "{}]}")),
    (SPEC, folder), (SPEC, edited('"sigma": 0.5', '"sigma": "\\u001b[31m"')), (SEEN, pipe),
]  # fmt: skip


def is_named(app: Dashboard, name: str, *, named: bool = True) -> bool:
    return any(name in told for told in app.overview.problems) == named


@pytest.mark.parametrize(
    "damages", [DAMAGES[:4], pytest.param(DAMAGES[4:], marks=pytest.mark.long)], ids=["few", "many"]
)
def test_a_damaged_record_is_named_and_the_rest_is_shown(
    synthetic: Synthetic, drive: Any, damages: list[tuple[str, Callable[[Path], None]]]
) -> None:
    async def steps(app: Dashboard, pilot: Any) -> None:
        for pattern, damage in damages:
            (path,) = synthetic.store.root.glob(pattern)
            kept = path.read_bytes()
            damage(path)
            look_again(synthetic, path)
            await until(pilot, partial(is_named, app, path.name), f"word of {pattern}")
            shown = {sweep.name for sweep in app.overview.sweeps}
            assert shown >= ({"going", "failed"} if pattern == PLAN else {"going", "failed", "finished"})
            screen = "\n".join(on_screen(app))
            assert "going" in screen
            assert "failed" in screen
            for key in ("2", "1"):
                await pilot.press(key)
                await pilot.pause(0.1)
            path.rmdir() if path.is_dir() else path.unlink()
            path.write_bytes(kept)
            look_again(synthetic, path)
            await until(pilot, partial(is_named, app, path.name, named=False), "cure")

    drive(steps)
