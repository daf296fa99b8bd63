"""What a plan says of data that changed, of data that isn't there, and of settings that hardly anybody means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chain import Chain, tiny
from PIL import Image

from jobs.data import load
from rsctl.cluster import control
from rsctl.errors import InputError, RefusedError
from rsctl.plan.describe import describe
from rsctl.tui.draft import Draft
from rsctl.tui.form import compose


@pytest.fixture
def own(chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of four images below the data root, and no queue that would start anything."""
    monkeypatch.setenv("RSCTL_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("rsctl.cluster.local.start_detached", lambda *_: None)
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            folder = tmp_path / "data" / "own" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8), "red" if name == "ant" else "blue").save(folder / "0.png")
    return tmp_path / "data" / "own"


def folder_sweep(**changes: Any) -> dict[str, Any]:
    return tiny(dataset={"name": "imagefolder", "path": "own", "size": 8}, **changes)


def check(chain: Chain, values: dict[str, Any]) -> str:
    return describe(control.plan_file(chain.file(values), chain.place), chain.place).text


def test_data_that_changed_is_no_new_sweep_without_being_asked(chain: Chain, own: Path) -> None:
    values = folder_sweep()
    file = chain.file(values)
    control.submit(file, chain.place)
    assert control.submit(file, chain.place).committed.notes == []
    before = chain.store.sweep("tiny")
    assert "differ" not in check(chain, values)
    Image.new("RGB", (8, 8)).save(own / "train" / "ant" / "1.png")
    assert "the files of imagefolder 'own' differ" in check(chain, values)
    composed = compose(Draft(values))
    assert composed.replaces
    assert "the files of imagefolder 'own' differ" in composed.plan
    with pytest.raises(
        RefusedError, match=r"dataset: the files of imagefolder 'own' differ .*0 results in 1 table.*--update"
    ):
        control.submit(file, chain.place)
    assert chain.store.sweep("tiny") == before
    notes = "\n".join(control.submit(file, chain.place, update=True).committed.notes)
    assert all(part in notes for part in ("imagefolder 'own' differ", "adds", "drops"))
    assert control.submit(file, chain.place).committed.notes == []
    (own / "train" / "ant" / "1.png").unlink()
    with pytest.raises(RefusedError, match="differ"):
        control.submit(file, chain.place)


def test_a_data_set_that_is_not_there_is_no_surprise_on_the_node(chain: Chain, own: Path) -> None:
    values = tiny(dataset="mnist", model={"name": "cnn", "width": 4})
    said = check(chain, values)
    assert (
        f"note: dataset: mnist isn't complete and readable below the data root {own.parent} (MNIST/raw not there)"
        in said
    )
    (note,) = control.submit(chain.file(values), chain.place).committed.notes
    assert note in said
    with pytest.raises(
        InputError, match=f"mnist isn't complete and readable below the data root {own.parent}"
    ):
        load("mnist", {}, "train", own.parent)
    (own.parent / "MNIST" / "raw").mkdir(parents=True)
    assert "note" not in check(chain, values)
