"""Files of torch are read without running anything of them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from jobs.tensors import TorchScriptArchive, load_tensors
from rsctl.cli.checkpoint import _submit
from rsctl.errors import InputError, UnavailableError


def test_tensors_come_from_a_file_and_from_bytes(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    torch.save({"weight": torch.arange(3)}, file)
    for source in (file, file.read_bytes()):
        assert torch.equal(load_tensors(source)["weight"], torch.arange(3))
    torch.save({"weight": torch.arange(3)}, file, _use_new_zipfile_serialization=False)
    assert torch.equal(load_tensors(file)["weight"], torch.arange(3))


@pytest.mark.parametrize("entry", ["archive/constants.pkl", "archive/code/__torch__.py"])
def test_a_program_is_refused_before_torch_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    file = tmp_path / "program.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
        archive.writestr(entry, b"")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch was given the file"))
    for source in (file, file.read_bytes()):
        with pytest.raises(TorchScriptArchive, match="holds a program"):
            load_tensors(source)


@pytest.mark.parametrize("release", ["2.4.1", "2.5.1+cpu"])
def test_an_old_torch_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    torch.save({}, tmp_path / "weights.pt")
    monkeypatch.setattr(torch, "__version__", release)
    with pytest.raises(UnavailableError, match=r"Install torch 2\.6"):
        load_tensors(tmp_path / "weights.pt")


def test_nothing_else_reads_them() -> None:
    """Every other way of reading a file of torch would have to be as careful. What a message prints is run by who reads it."""
    root = Path(__file__).parents[2]
    careless = [
        f"{file.relative_to(root)}: {line.strip()}"
        for package in ("jobs", "rsctl")
        for file in (root / package).rglob("*.py")
        for line in file.read_text().splitlines()
        if "torch.load(" in line and "c = torch.load(" not in line and file.name != "tensors.py"
    ]
    assert careless == []


def test_a_sweep_named_after_a_path_writes_nowhere(tmp_path: Path) -> None:
    for name in (str(tmp_path / "precious"), "../precious", ""):
        with pytest.raises(InputError, match=r"--name: '.*': use 1 to 64 letters"):
            _submit({"name": name}, "", True, False)
    assert list(tmp_path.iterdir()) == []
