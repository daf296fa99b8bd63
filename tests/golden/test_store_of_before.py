"""A store that the first release made: it is read, printed and gone on with as by the code that made it."""

from __future__ import annotations

import json
import lzma
import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import outputs
import pytest
from chain import Chain
from packed import BEGUN, unpack
from sweeps import FINISHED, INTERRUPTED, MAIN

from rsctl.config.sweep import load_sweep
from rsctl.plan.commit import commit
from rsctl.plan.plan import make_plan
from rsctl.store.layout import Run, Store
from rsctl.store.tables import data_files

GOLDEN: dict[str, Any] = json.loads(lzma.decompress((Path(__file__).parent / "outputs.json.xz").read_bytes()))


def differences(one: Any, other: Any, at: str = "") -> list[str]:
    """Paths at which two JSON values differ; keys that were added don't count."""
    if isinstance(one, dict) and isinstance(other, dict):
        one = {key: value for key, value in one.items() if key not in outputs.SENTENCES}
        gone = [f"{at}/{key} is gone" for key in one if key not in other]
        return gone + [
            found for key in one if key in other for found in differences(one[key], other[key], f"{at}/{key}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            found
            for number, pair in enumerate(zip(one, other, strict=True))
            for found in differences(*pair, f"{at}/{number}")
        ]
    if isinstance(one, float) and isinstance(other, float):
        return (
            [] if np.isclose(one, other, rtol=1e-6, atol=1e-9, equal_nan=True) else [f"{at}: {one} → {other}"]
        )
    return [] if one == other else [f"{at}: {one!r} → {other!r}"]


def requests(chain: Chain, name: str) -> list[Any]:
    """What a submission of this sweep would hand over."""
    file = chain.folder / f"{name}.toml"
    plan = make_plan(load_sweep(file, chain.place.data, chain.store.planned), str(file))
    return commit(plan, chain.place, update=False).requests


def arrays(file: Path) -> dict[str, Any]:
    """Every data set of a data file by its path."""
    found: dict[str, Any] = {}
    with h5py.File(file) as opened:
        opened.visititems(
            lambda name, one: found.update({name: one[()]}) if isinstance(one, h5py.Dataset) else None
        )
    return found


def attributes(file: Path) -> set[str]:
    with h5py.File(file) as opened:
        return set(opened.attrs)


def only_file(run: Run) -> Path:
    (file,) = data_files(run)
    return file


def test_commands_print_what_they_printed(golden: Chain) -> None:
    found = outputs.of_commands(golden.folder)
    assert differences(GOLDEN["commands"], json.loads(json.dumps(found))) == []


def test_every_image_has_its_radius_under_every_certificate(golden: Chain) -> None:
    found = outputs.of_tables(golden.folder)
    assert differences(GOLDEN["tables"], json.loads(json.dumps(found))) == []


def test_a_finished_sweep_submitted_again_has_nothing_to_do(golden: Chain) -> None:
    for name in [*FINISHED, MAIN["name"], "checkpoint"]:
        assert requests(golden, name) == [], name
    before = golden.attempts()
    code, out = outputs.command("submit", "main.toml", "--json")
    assert (code, json.loads(out)["started"]) == (0, 0)
    assert golden.attempts() == before


def compared(begun: Run, finished: Run) -> None:
    """The tables of two runs hold the same columns, and the same values but for times."""
    mine, theirs = arrays(only_file(begun)), arrays(only_file(finished))
    assert {name: one.dtype for name, one in mine.items()} == {
        name: one.dtype for name, one in theirs.items()
    }
    assert attributes(only_file(begun)) == attributes(only_file(finished))
    same = mine["functions"].tolist() == theirs["functions"].tolist()
    for name, values in theirs.items():
        if name in ("functions", "seconds"):
            continue
        if same or name in ("index", "label"):
            assert np.array_equal(mine[name], values), name
        else:
            # Another processor or library rounds differently: a draw in a hundred may fall on another class.
            assert mine[name].shape == values.shape, name


@pytest.mark.parametrize("name", sorted(INTERRUPTED))
def test_an_interrupted_table_goes_on_and_ends_with_the_same_counts(
    name: str, golden: Chain, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("begun")
    unpack(folder, BEGUN)
    monkeypatch.setenv("RSCTL_CONFIG", str(folder / "rsctl.toml"))
    chain = Chain(folder)
    waiting = requests(chain, name)
    assert [request.task.run.kind for request in waiting] == ["counts", "counts"]
    run = waiting[0].task.run
    (shard,) = data_files(run)
    assert any(path.startswith("pending/") and len(values) for path, values in arrays(shard).items())
    for request in waiting:
        chain.run(request.task)
    compared(run, golden.store.run("counts", run.id))


def test_the_archives_hold_every_kind_of_record() -> None:
    with tarfile.open(Path(__file__).parent / "store.tar.xz") as archive:
        names = [one.name for one in archive]
    for part in (
        "store/models/", "store/counts/", "store/verifications/", "store/attacks/", "store/imports/", "/checkpoint.pt",
        "/shards/", "/submissions/", "/requests/", "/ended/", "/taken.json", "/seen.json", "/metrics.1.jsonl", "/logs/",
    ):  # fmt: skip
        assert any(part in name for name in names), part


def test_an_interrupted_training_goes_on_from_its_snapshot(
    golden: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    training = requests(golden, "training")[0].task
    golden.run(training)
    assert "resumed at step" in capsys.readouterr().out
    assert training.run.model_file.exists()
    assert Store(golden.place.store).run("models", training.run.id).train_spec == training.run.train_spec
