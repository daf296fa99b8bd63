"""Packages of people who mean harm: each is refused with a sentence; nothing is written, nothing is run."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hostile_packages import hostile
from package_cases import packed
from report_cases import make_store

from rsctl.errors import UserError
from rsctl.package.unpacking import unpack
from rsctl.package.verifying import report_text, verify
from rsctl.store.layout import Store

SEED, NUMBER, SOME = 20_261_201, 220, 25


def _all(tmp_path: Path) -> tuple[list[tuple[str, bytes]], Path]:
    certification = {"n0": 10, "n": 1000, "certificates": ["cohen"], "radii": [0.0, 0.25], "max_images": 10}
    store, _ = make_store(tmp_path / "sender", certification=certification)
    mark = tmp_path / "owned"
    return list(hostile(packed(store, tmp_path / "out"), tmp_path / "parts", mark, SEED, NUMBER)), mark


def _try(tmp_path: Path, name: str, data: bytes) -> None:
    folder = tmp_path / "receiver"
    file, store = folder / "package.rsctl", Store(folder / "runs")
    folder.mkdir(exist_ok=True)
    file.write_bytes(data)
    with pytest.raises(UserError) as refused:
        unpack(file, store)
    sentence = str(refused.value)
    assert sentence.isprintable(), (name, sentence)
    assert len(sentence) < 2000, name
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == [
        Path("package.rsctl"),
        Path("runs"),
    ], name
    found, said = None, ""
    try:
        found = verify(file)
        said = report_text(found).replace("\n", "")
    except UserError as error:
        said = str(error)
    assert found is None or not found.verified, name
    assert said.isprintable(), name


def test_some_hostile_packages_are_refused(tmp_path: Path) -> None:
    packages, mark = _all(tmp_path)
    assert len(packages) >= 200
    for name, data in random.Random(SEED).sample(packages, SOME):
        _try(tmp_path, name, data)
    assert not mark.exists()


@pytest.mark.long
def test_every_hostile_package_is_refused(tmp_path: Path) -> None:
    packages, mark = _all(tmp_path)
    before = {path for path in tmp_path.rglob("*") if "receiver" not in path.parts}
    for name, data in packages:
        try:
            _try(tmp_path, name, data)
        except BaseException as error:
            raise AssertionError(name) from error
    assert not mark.exists()
    assert {path for path in tmp_path.rglob("*") if "receiver" not in path.parts} == before
