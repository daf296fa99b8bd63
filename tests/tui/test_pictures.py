"""An image of a run as a picture, with its first noises; classes and files by their names."""

from __future__ import annotations

import asyncio
import base64
import io
import json

import numpy as np
import pytest
import torch
from chain import Chain, tiny
from folders import shapes
from PIL import Image
from piloting import on_screen, until
from textual.widgets import Static

from jobs import picture as job
from jobs.certify import sampler
from rsctl.catalog.labels import NAMES, labels_of
from rsctl.plan.tasks import Task
from rsctl.tui.app import make_app
from rsctl.tui.results.image import ImageScreen
from rsctl.tui.results.pictures import way
from rsctl.tui.results.samples import SamplesScreen
from rsctl.tui.widgets.grid import Grid


@pytest.fixture
def certified(chain: Chain) -> Chain:
    """A network of a few folders of shapes, and a table of six of its test images."""
    shapes(chain.folder / "data" / "forms", train=[12, 12, 12], test=[3, 3, 3], size=16)
    chain.run_all(
        tiny(
            dataset={"name": "imagefolder", "path": "forms", "size": 16},
            certification={"n0": 50, "n": 50, "max_images": 6, "shards": 1},
        )
    )
    return chain


def test_the_draws_shown_are_those_that_were_counted(certified: Chain, monkeypatch, capsys) -> None:
    run = certified.counts_run()
    counted: list[torch.Tensor] = []
    fill = sampler.NoisyInputs.fill

    def kept(self, rows, pixels, phase, position, number):
        noise = fill(self, rows, pixels, phase, position, number)
        if (phase, position, number) == ("estimation", run.images(0)[0], 0):
            counted.append(rows.clone())
        return noise

    position = run.images(0)[0]
    assert job.main([str(run.path), str(position), "--data", str(certified.place.data)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["draws"]) == job.DRAWS
    monkeypatch.setattr(sampler.NoisyInputs, "fill", kept)
    (run.path / "counts.h5").unlink(missing_ok=True)
    for shard in (run.path / "shards").glob("*"):
        shard.unlink()
    certified.run(Task(run, 0))
    expected = counted[0][: job.DRAWS].clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(one["image"])))) for one in found["draws"]]
    assert np.array_equal(expected, np.stack(shown))


def test_an_image_that_cannot_be_shown_is_a_sentence(certified: Chain, capsys) -> None:
    run = certified.counts_run()
    (certified.folder / "data" / "forms").rename(certified.folder / "data" / "moved")
    assert job.main([str(run.path), "0", "--data", str(certified.place.data)]) == 2
    assert "forms is not a folder" in capsys.readouterr().err


def test_enter_on_an_image_shows_it(certified: Chain) -> None:
    async def steps() -> None:
        app = make_app()
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("2")
            await until(pilot, lambda: app.current_mode == "results", "the mode")
            await until(pilot, lambda: app.mode_screen._complete, "the table")
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, SamplesScreen), "the images")
            grid = app.screen.query_one(Grid)
            names = {cell for row in grid.rows for cell in row.cells[1:2]}
            assert names <= {"0 disc", "1 square", "2 triangle"}
            file = str(app.screen.query_one("#samples-file", Static).render())
            assert file.startswith("test/")
            assert ".png" in file
            await pilot.press("enter")
            assert isinstance(app.screen, ImageScreen)
            await until(pilot, lambda: len(app.screen.query(".draw")) == job.DRAWS, "its pictures", 60)
            lines = "\n".join(on_screen(app))
            assert "network, no noise" in lines
            assert lines.count("▀") > 300, "no picture is drawn"
            assert "q or Esc closes" in lines
            await pilot.resize_terminal(160, 48)
            await until(pilot, lambda: "\n".join(on_screen(app)).count("▀") > 1000, "larger pictures")
            await pilot.press("q")
            assert isinstance(app.screen, SamplesScreen)

    asyncio.run(steps())


@pytest.mark.parametrize(
    ("environ", "pixels", "expected"),
    [
        ({"TERM": "xterm-kitty"}, True, "kitty"),
        ({"TERM": "xterm-ghostty"}, True, "kitty"),
        ({"TERM": "foot-extra"}, True, "sixel"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, True, "sixel"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux-0/default,1,0"}, True, "half-blocks"),
        ({"TERM": "xterm-kitty"}, False, "half-blocks"),
        ({"TERM": "xterm-256color"}, True, "half-blocks"),
        ({}, True, "half-blocks"),
    ],
)
def test_the_way_follows_from_what_the_terminal_is_called(environ, pixels, expected) -> None:
    assert way(environ, pixels) == expected


def test_names_of_torchvision_sets(tmp_path) -> None:
    """They are the order of the labels: alphabetical in both CIFARs."""
    for name in ("cifar10", "cifar100"):
        assert list(NAMES[name]) == sorted(NAMES[name])
    assert len(NAMES["cifar100"]) == len(set(NAMES["cifar100"])) == 100
    assert labels_of("cifar10", {}, "test", tmp_path).name(3) == "3 cat"
    assert labels_of("digits", {}, "test", tmp_path).name(3) == "3"
    assert labels_of("imagefolder", {"path": "none"}, "test", tmp_path).name(1) == "1"


def test_names_of_imagenet_are_those_of_its_folders(tmp_path) -> None:
    for name in ("n01440764", "n01443537", ".cache"):
        folder = tmp_path / "imagenet" / "val" / name
        folder.mkdir(parents=True)
        (folder / "a.JPEG").touch()
    found = labels_of("imagenet", {}, "test", tmp_path)
    assert found.names == ("n01440764", "n01443537")
    assert found.file(1) == "val/n01443537/a.JPEG"
