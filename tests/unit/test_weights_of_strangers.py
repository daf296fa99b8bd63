"""Checkpoints and images of strangers: tensors and pixels are taken of them, and nothing else happens."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from chain import Chain, tiny
from PIL import Image

from jobs.checkpoints.formats import read_weights
from jobs.data.decode import read_image
from rsctl.catalog.orientation import turned_files
from rsctl.errors import InputError


def checkpoint(file: Path) -> dict[str, object]:
    return tiny(method={"name": "checkpoint", "file": str(file)}, training={})


def test_a_copy_keeps_its_mode_and_goes_when_it_cant_be_used(chain: Chain) -> None:
    private = chain.folder / "private.pt"
    torch.save({"secret.weight": torch.zeros(3, 3)}, private)
    private.chmod(0o600)
    [training] = [
        request.task
        for request in chain.plan(checkpoint(private)).requests
        if request.task.run.kind == "models"
    ]
    copy = training.run.published_file
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with pytest.raises(InputError, match=r"weights aren't those of cnn|whether it is"):
        chain.run(training)
    assert not copy.exists()
    with pytest.raises(InputError, match="'rsctl submit' copies it again"):
        chain.run(training)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_postscript_is_no_image(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.eps")
    file = (tmp_path / "a.eps").rename(tmp_path / name)
    asked: list[object] = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *given, **_: asked.append(given))
    with pytest.raises(InputError, match="can't be decoded as an image"):
        read_image(file)
    file.write_bytes(file.read_bytes() + b"Exif\0\0")
    assert turned_files(tmp_path, [name]).files == 0
    assert not asked


@pytest.mark.parametrize(
    "name",
    [
        "a'; touch stolen; $(touch stolen)`touch stolen`\"b.pt",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("a'b.pt", 'a"b.pt', "a$(touch stolen)b.pt", "a`touch stolen`.pt")
        ),
    ],
)
def test_the_printed_command_is_quoted_for_a_shell(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    torch.save(torch.nn.Linear(1, 1), file)
    with pytest.raises(InputError, match="Python objects besides weights") as caught:
        read_weights(file)
    command = str(caught.value).splitlines()[-1].replace("python", sys.executable, 1)
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, f"{name[:-3]}.weights.pt"])


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.zeros(3, device="meta"), "'meta' device"),
        (torch.eye(3).to_sparse(), "sparse or nested"),
        (torch.zeros(1).expand(10**12), "repeats a few stored values: written out it would take 4,000.0 GB"),
    ],
)
def test_tensors_without_values_of_their_own_are_a_sentence(
    tensor: torch.Tensor, said: str, tmp_path: Path
) -> None:
    torch.save({"state_dict": {"0.weight": tensor}}, tmp_path / "c.pt")
    with pytest.raises(InputError, match=said):
        read_weights(tmp_path / "c.pt")
