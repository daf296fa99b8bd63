"""Packages: a sweep's results as one file, put into another store, verified, and changed by somebody."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from package_cases import Edit, forged, hdf5_edit, json_edit, move_a_draw, packed
from persons import Person
from persons import persons as persons
from report_cases import make_store, write_counts

from rsctl.cli.app import run as command
from rsctl.config.runs import CountSpec
from rsctl.errors import InputError, RefusedError
from rsctl.package import unpacking
from rsctl.package.archive import read_manifest
from rsctl.package.format import NotAPackageError
from rsctl.package.unpacking import unpack
from rsctl.package.verifying import VerifiedPackage, verify
from rsctl.package.writing import members, pack, prepare
from rsctl.report.tables.formats import render
from rsctl.results.sweep import sweep_results
from rsctl.store.attempts import Claim
from rsctl.store.files import to_json
from rsctl.store.layout import Run, Store
from rsctl.store.received import held, received
from rsctl.store.tables import read_table

CERTIFICATION = {"n0": 10, "n": 1000, "certificates": ["cohen", "runner-up"], "radii": [0.0, 0.25, 0.5], "max_images": 40, "shards": 2}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A finished sweep of two training seeds, which no test changes."""
    return two_runs(tmp_path_factory.mktemp("sender") / "store")[0]


@pytest.fixture(scope="module")
def original(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(store, tmp_path_factory.mktemp("packages"))


@pytest.fixture
def file(original: Path, tmp_path: Path) -> Path:
    """The package of that sweep."""
    return Path(shutil.copy(original, tmp_path / "sweep.rsctl"))


def two_runs(root: Path) -> tuple[Store, list[Run]]:
    """A sweep of two training seeds on 40 images."""
    return make_store(root, grid={"seed": [0, 1]}, certification=CERTIFICATION)


def named(found: VerifiedPackage, *texts: str) -> bool:
    """Return whether one finding has all these texts."""
    return any(all(text in str(one) for text in texts) for one in found.findings)


def tables(store: Store, sweep: str = "sweep") -> list[str]:
    """Every table of a sweep, without its notes."""
    results = sweep_results(store, sweep)
    results.notes.clear()
    return [render(results, form) for form in ("md", "csv", "json", "latex")]


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder, by name."""
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


# ---------------------------------------------------------------------- packing and unpacking


def test_the_tables_of_an_unpacked_sweep_are_equal_to_the_last_digit(
    store: Store, file: Path, tmp_path: Path
) -> None:
    other = Store(tmp_path / "elsewhere" / "runs")
    unpack(file, other)
    assert tables(other) == tables(store)
    for run in store.runs("counts"):
        assert (read_table(other.run("counts", run.id)).rows.counts == read_table(run).rows.counts).all()
        assert received(other.run("counts", run.id).path)


def test_the_same_sweep_gives_the_same_bytes(store: Store, file: Path, tmp_path: Path) -> None:
    assert packed(store, tmp_path / "again").read_bytes() == file.read_bytes()


def test_no_host_user_path_or_secret_is_in_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "erika-mustermann")
    marks = [
        "node-0815",
        "erika-mustermann",
        str(tmp_path),
        "/scratch/project-x",
        "hunter2",
        socket.gethostname() + ".example",
    ]
    store, runs = make_store(
        tmp_path / "store", description=f"by erika-mustermann on node-0815, see {tmp_path}/notes.txt and /scratch/project-x/data",
        certification=CERTIFICATION,
    )  # fmt: skip
    claim = Claim.take(
        runs[0],
        0,
        {
            "host": "node-0815.example",
            "boot": "b",
            "pid": 7,
            "command": [str(tmp_path)],
            "cwd": "/scratch/project-x",
        },
    )
    claim.write("progress", done=1, total=2, unit="images", device="cpu", where="/scratch/project-x")
    claim.end("failed", f"can't read {tmp_path}/data.bin on node-0815")
    runs[0].log_file(0).parent.mkdir(exist_ok=True)
    runs[0].log_file(0).write_text(f"node-0815: {tmp_path}/data\nWANDB_API_KEY=hunter2\n")
    (store.sweep_folder("sweep") / "sweep.toml").write_text(
        f'name = "sweep"  # erika-mustermann\nmodel = "{tmp_path}/model.pth"\napi_key = "hunter2"\n'
    )
    package = prepare(store, "sweep", logs=True)
    for name, content in package.content.items():
        data = content if isinstance(content, bytes) else content.read_bytes()
        assert [mark for mark in marks if mark.encode() in data] == [], name
    text = package.content["sweep/sweep.toml"]
    assert isinstance(text, bytes)
    assert b'model = "\xe2\x80\xa6/model.pth"' in text


def test_unpacking_twice_changes_nothing(file: Path, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    assert set(unpack(file, other).folders.values()) == {"added"}
    before = {name: data for name, data in tree(other.root).items() if not name.startswith("sweeps/")}
    assert set(unpack(file, other).folders.values()) == {"kept"}
    assert {name: data for name, data in tree(other.root).items() if not name.startswith("sweeps/")} == before
    assert not [name for name in os.listdir(other.root) if name.startswith(".")]


@pytest.mark.parametrize("kill_at", [0, 2, 4])
def test_a_killed_unpacking_is_repeated(
    store: Store, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    other = Store(tmp_path / "other")
    publish, calls = unpacking._publish, list[int]()

    def killed(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) > kill_at:
            raise KeyboardInterrupt
        publish(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(unpacking, "_publish", killed)
        with pytest.raises(KeyboardInterrupt):
            unpack(file, other)
    assert other.sweep_names() == []  # the list comes last: a half-unpacked sweep isn't shown
    unpack(file, other)
    assert tables(other) == tables(store)


@pytest.mark.parametrize("kill_at", [1, 3, 5])
def test_an_update_that_is_killed_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    """Weights that an update doesn't bring stay, too; the second package needs what the first one brought."""
    store, runs = make_store(tmp_path / "store", certification=CERTIFICATION, counts=False)
    model = store.model(runs[0].count_spec.model_run)
    model.model_file.write_bytes(b"weights")
    other, more = Store(tmp_path / "other"), tmp_path / "more.rsctl"
    unpack(packed(store, tmp_path / "out", weights=True), other)
    (model.path / "metrics.1.jsonl").write_text('{"epoch":1,"loss":1.0,"accuracy":0.5,"lr":0.1}\n')
    write_counts(runs[0], sorted(runs[0].assigned_images()))
    _about(runs[0], model)
    pack(store, "sweep", more, without=held(other, "sweep"))
    rename, calls = os.rename, list[int]()

    def killed(old: Any, new: Any) -> None:
        calls.append(1)
        if len(calls) == kill_at + 1:
            raise SystemExit
        rename(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(unpacking.os, "rename", killed)
        for module, name in ((unpacking.shutil, "rmtree"), (unpacking, "_restore")):
            patch.setattr(module, name, lambda *_, **__: None)  # nothing is tidied up after SIGKILL
        with pytest.raises(SystemExit):
            unpack(more, other)
    unpack(more, other)
    assert tables(other) == tables(store)
    assert other.model(model.id).model_file.read_bytes() == b"weights"


def _about(run: Run, model: Run) -> None:
    """State the checkpoint of a run's rows."""
    data = (run.path / "counts.h5").read_bytes()
    sha256 = hashlib.sha256(model.model_file.read_bytes()).hexdigest()
    (run.path / "counts.h5").write_bytes(
        hdf5_edit(lambda table: table.attrs.update(model_sha256=sha256))(data)
    )


def test_parts_that_the_receiver_has_are_left_out_and_found_again(tmp_path: Path) -> None:
    store, runs = make_store(
        tmp_path / "store", grid={"seed": [0, 1]}, certification=CERTIFICATION, counts=False
    )
    images = sorted(runs[0].assigned_images())
    write_counts(runs[0], images)
    other = Store(tmp_path / "other")
    unpack(packed(store, tmp_path / "out"), other, origin="cluster")
    write_counts(runs[1], images, seed=1)
    file = tmp_path / "more.rsctl"
    left = pack(store, "sweep", file, without=held(other, "sweep")).manifest.members
    assert 0 < sum(member.included for member in left) < 0.5 * len(left)
    assert f"runs/{runs[0].key}/counts.h5" in [member.name for member in left if not member.included]
    with pytest.raises(NotAPackageError, match="leaves out"):
        verify(file)
    with pytest.raises(InputError, match="hasn't received"):
        unpack(file, Store(tmp_path / "third"))
    states = unpack(file, other).folders
    assert (states[runs[0].key], states[runs[1].key]) == ("kept", "updated")
    assert tables(other) == tables(store)
    assert set(held(other, "sweep")) == {member.sha256 for member in members(store, "sweep")}


def test_an_equal_part_of_another_run_stands_for_one_that_is_left_out(tmp_path: Path) -> None:
    """Two runs have the same launch settings: the second one's are left out though only the first was received."""
    store, _ = make_store(tmp_path / "store", certification=CERTIFICATION)
    other = Store(tmp_path / "other")
    unpack(packed(store, tmp_path / "out"), other)
    both, runs = make_store(
        tmp_path / "both", name="wider", grid={"seed": [0, 1]}, certification=CERTIFICATION
    )
    file = tmp_path / "wider.rsctl"
    listed = pack(both, "wider", file, without=held(other, "sweep")).manifest.members
    left = [member.name for member in listed if not member.included]
    assert all(f"runs/{run.key}/launch.json" in left for run in runs)
    unpack(file, other)
    assert tables(other, "wider") == tables(both, "wider")


def test_more_images_of_a_received_run_are_added(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path / "store", certification=CERTIFICATION, counts=False)
    images = sorted(runs[0].assigned_images())
    write_counts(runs[0], images)
    whole = read_table(runs[0]).rows
    file, other = packed(store, tmp_path / "out"), Store(tmp_path / "other")
    part = forged(
        file, {"counts.h5": hdf5_edit(_first_rows(20)), "certified.h5": hdf5_edit(_first_rows(20, deep=True))}
    )
    unpack(part, other)
    assert len(read_table(other.run("counts", runs[0].id)).rows) == 20
    states = unpack(file, other).folders
    assert states[runs[0].key] == "updated"
    assert (read_table(other.run("counts", runs[0].id)).rows.counts == whole.counts).all()
    assert unpack(part, other).folders[runs[0].key] == "kept"  # an older package takes nothing away


def _first_rows(number: int, *, deep: bool = False) -> Any:
    def change(file: Any) -> None:
        for name in list(file):
            if hasattr(file[name], "shape"):
                if name != "functions":
                    values = file[name][:number]
                    del file[name]
                    file[name] = values
            elif deep:
                _first_rows(number)(file[name])

    return change


def test_a_run_of_this_store_is_never_replaced(file: Path, tmp_path: Path) -> None:
    mine, runs = two_runs(tmp_path / "mine")
    assert set(unpack(file, mine, name="theirs").folders.values()) == {"kept"}
    assert received(mine.run("counts", runs[0].id).path) is None
    other = forged(file, {"counts.h5": hdf5_edit(move_a_draw)})
    before = tree(mine.root)
    with pytest.raises(RefusedError, match=r"other results than the package for image \d+"):
        unpack(other, mine, name="others")
    with pytest.raises(RefusedError, match=r"is a sweep of this store.*--name"):
        unpack(file, mine)
    assert tree(mine.root) == before


def test_a_received_run_doesnt_take_other_counts(file: Path, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    unpack(file, other)
    with pytest.raises(RefusedError, match="other results"):
        unpack(forged(file, {"counts.h5": hdf5_edit(move_a_draw)}), other)


def test_a_submission_adds_nothing_to_a_received_run(file: Path, tmp_path: Path) -> None:
    other, grid = Store(tmp_path / "other"), {"seed": [0, 1]}
    unpack(file, other, name="theirs")
    folders = [run.path for run in other.runs("counts")]
    before = [tree(folder) for folder in folders]
    make_store(other.root, name="mine", grid=grid, certification=CERTIFICATION, counts=False)
    for more, how in (({"max_images": 60}, "package, so nothing"), ({"n": 2000}, "without its weights")):
        with pytest.raises(RefusedError, match=how):
            make_store(
                other.root, name="more", grid=grid, certification={**CERTIFICATION, **more}, counts=False
            )
    assert [tree(folder) for folder in folders] == before


def test_rows_about_other_weights_than_the_stores_are_refused(file: Path, tmp_path: Path) -> None:
    mine, runs = make_store(
        tmp_path / "mine", grid={"seed": [0, 1]}, certification={**CERTIFICATION, "n": 500}, counts=False
    )
    mine.model(runs[0].count_spec.model_run).model_file.write_bytes(b"other weights")
    with pytest.raises(RefusedError, match="holds other weights"):
        unpack(file, mine, name="theirs")


def test_members_name_every_part_with_its_digest(store: Store, file: Path, tmp_path: Path) -> None:
    listed = members(store, "sweep")
    assert {member.name for member in listed} >= {"CARD.md", "sweep/plan.json", "tables/table.csv"}
    unpack(file, Store(tmp_path / "other"))
    assert {member.sha256 for member in listed} == set(held(Store(tmp_path / "other"), "sweep"))


def test_another_user_unpacks_and_verifies(store: Store, file: Path, persons: tuple[Person, Person]) -> None:
    person, other = persons[0], persons[0].folder / "sweep.rsctl"
    shutil.copy(file, other)
    other.chmod(0o644)
    person.settings(person.home / "deep" / "runs")
    assert person.cli("unpack", other).code == 0
    assert "Verified" in person.cli("verify", other).out
    assert person.cli("export", "sweep", "--format", "csv").out == tables(store)[1]


# ---------------------------------------------------------------------- verifying


def test_an_honest_package_is_verified(file: Path) -> None:
    found = verify(file)
    assert found.verified, found.findings
    assert found.images == 80
    assert found.cells > 300
    assert found.sentence.startswith("Verified: ")


def test_a_changed_byte_is_named_by_its_member(file: Path) -> None:
    changed = forged(
        file,
        {"table.md": lambda data: data.replace(b"gaussian", b"gausian_")},
        honest=True,
    )
    assert named(verify(changed), "tables/table.md", "don't match the SHA-256")


def label_changes(file: Any) -> None:
    labels = file["label"][()]
    labels[3] = (labels[3] + 1) % 10
    file["label"][...] = labels


def labels_swapped(file: Any) -> None:
    labels = file["label"][()]
    a, b = 0, int(np.flatnonzero(labels != labels[0])[0])
    labels[[a, b]] = labels[[b, a]]
    file["label"][...] = labels


def radius_changes(file: Any) -> None:
    file["cohen/radius"][5] += 0.01


def renamed(file: Any) -> None:
    file.move("cohen", "dsrs")


FORGERIES: dict[str, tuple[dict[str, Edit], tuple[str, ...]]] = {
    "a count": ({"counts.h5": hdf5_edit(move_a_draw)}, ("certified.h5", "image 7", "radius by cohen", "but the rows give")),
    "a label": ({"counts.h5": hdf5_edit(label_changes)}, ("certified.h5", "image", "its label is")),
    "two labels": ({"counts.h5": hdf5_edit(labels_swapped)}, ("certified.h5", "image 7", "its label is")),
    "a label in both": (
        {"counts.h5": hdf5_edit(label_changes), "certified.h5": hdf5_edit(label_changes)}, ("has label", "image"),
    ),
    "a cell of the Markdown table": ({"table.md": lambda data: _raised(data)}, ("table.md", "row 'gaussian", "but the counts give")),
    "a cell of the CSV table": ({"table.csv": lambda data: data.replace(b",0.", b",0.9", 1)}, ("table.csv", "radius 0.0", "but the counts give")),
    "a cell of the JSON table": (
        {"table.json": json_edit(lambda values: values["rows"][2].update(certified_accuracy=0.99))},
        ("table.json", "radius 0.5, certified_accuracy", "is 0.99"),
    ),
    "a note": ({"table.json": json_edit(lambda values: values["notes"].append("All is well."))}, ("table.json", "notes")),
    "a row": ({"table.csv": lambda data: data.rstrip().rpartition(b"\n")[0] + b"\n"}, ("table.csv", "rows")),
    "a radius": ({"certified.h5": hdf5_edit(radius_changes)}, ("certified.h5", "radius by cohen")),
    "another certificate": ({"certified.h5": hdf5_edit(renamed)}, ("certified.h5", "dsrs", "isn't proved for these counts")),
    "alpha": ({"certified.h5": hdf5_edit(lambda file: file.attrs.update(alpha=0.01))}, ("certified.h5", "alpha = 0.01")),
    "n": ({"counts/": json_edit(lambda values: values["spec"].update(n=999))}, ("spec.json", "doesn't match its hash")),
    "the seed": ({"models/": json_edit(lambda values: values["spec"].update(seed=5))}, ("spec.json", "doesn't match its hash")),
    "a spec and its hash": ({"counts/": json_edit(lambda values: _rehashed(values))}, ("spec.json", "it describes the run")),
    "a count that isn't moved": ({"counts.h5": hdf5_edit(lambda file: file["counts"].__setitem__((0, 0), 7))}, ("runs/counts/", "don't sum to n")),
    "n of an image": ({"counts.h5": hdf5_edit(lambda file: _fewer(file))}, ("runs/counts/", "were not sampled with n = 1000")),
    "the card": ({"CARD.md": lambda data: data.replace(b"probabilistic", b"deterministic")}, ("CARD.md",)),
    "the guarantee in the table": ({"table.md": lambda data: data.replace(b"0.999 per image", b"1.000 per image")}, ("table.md", "line", "1.000 per image")),
    "the certificates of the plan": (
        {"plan.json": json_edit(lambda values: values["entries"][0].update(certificates=["cohen"], digest=""))}, ("states radii of runner-up",),
    ),
    "a run of the plan": ({"plan.json": json_edit(lambda values: values["entries"][0].update(run="gaussian-other", digest=""))}, ("plan.json", "doesn't hold")),
}  # fmt: skip


def _raised(table: bytes) -> bytes:
    head, _, line = table.partition(b"\n| gaussian")
    cells = line.split(b"|")
    cells[2] = b" 99.9 "
    return head + b"\n| gaussian" + b"|".join(cells)


def _rehashed(values: Any) -> None:
    values["spec"]["n"] = 999
    values["hash"] = CountSpec(**values["spec"]).hash


def _fewer(file: Any) -> None:
    counts, n = file["counts"][()], file["n"][()]
    n[0], counts[0] = counts[0].max(), np.where(np.arange(10) == counts[0].argmax(), counts[0], 0)
    n[0] = counts[0].sum()
    if n[0] == 1000:
        n[0], counts[0] = 500, counts[0] // 2
    file["counts"][...], file["n"][...] = counts, n


@pytest.mark.parametrize("change", FORGERIES)
def test_a_forgery_with_new_digests_is_named(file: Path, change: str) -> None:
    edits, texts = FORGERIES[change]
    found = verify(forged(file, edits))
    assert named(found, *texts), [str(one) for one in found.findings]
    assert found.sentence.startswith("Differs: ")


def test_counts_that_cant_be_used_are_one_difference_and_not_one_for_each_cell(file: Path) -> None:
    damaged = forged(file, {"counts.h5": lambda data: data[: len(data) // 2]})
    found = verify(damaged)
    assert named(found, "tables: weren't compared", "counts.h5")
    assert len(found.findings) < 5, [str(one) for one in found.findings]


def test_counts_of_one_run_presented_as_those_of_another_are_named(tmp_path: Path) -> None:
    store, runs = two_runs(tmp_path / "store")
    for run in runs:
        write_counts(run, sorted(run.assigned_images()), seed=4)
    found = verify(packed(store, tmp_path / "out"))
    assert named(found, runs[1].id, f"has the counts of {runs[0].id}", "different ones") or named(
        found, runs[0].id, f"has the counts of {runs[1].id}"
    )


def test_weights_of_one_run_presented_as_those_of_another_are_named(file: Path) -> None:
    found = verify(
        forged(
            file,
            {"counts.h5": hdf5_edit(lambda table: table.attrs.update(model_sha256="a" * 64))},
            name="one.rsctl",
        )
    )
    assert found.verified, "another checkpoint by itself contradicts nothing"
    second = _second_counts(file)
    edit = hdf5_edit(lambda table: table.attrs.update(model_sha256="a" * 64))
    found = verify(forged(file, {"counts.h5": edit, second: edit}, name="two.rsctl"))
    assert named(found, "is about the weights of", "though its model is another one")


def _second_counts(file: Path) -> str:
    return [member.name for member in read_manifest(file).members if member.name.endswith("counts.h5")][1]


def test_held_out_images_with_the_noise_of_test_images_are_named(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path / "store", certification={**CERTIFICATION, "split": "test"})
    _, chosen = make_store(tmp_path / "store", name="chosen", certification={**CERTIFICATION, "split": "val"})
    old = _with_shared_keys(store, chosen[0])
    plan = json.loads((store.sweep_folder("sweep") / "plan.json").read_bytes())
    entry = json.loads((store.sweep_folder("chosen") / "plan.json").read_bytes())["entries"][0]
    plan["entries"].append({**entry, "run": old.id})
    (store.sweep_folder("sweep") / "plan.json").write_bytes(to_json(plan))
    found = verify(packed(store, tmp_path / "out"))
    assert named(found, old.id, "got the noise of", runs[0].id)


def _with_shared_keys(store: Store, run: Run) -> Run:
    """The same table as a version before rsctl told splits apart made it."""
    spec = CountSpec(**{**run.count_spec.model_dump(), "keys": "shared"})
    old = store.create(spec)
    (old.path / "launch.json").write_bytes((run.path / "launch.json").read_bytes())
    for number in run.task_numbers():
        old.tasks_folder.mkdir(exist_ok=True)
        old.task_file(number).write_bytes(run.task_file(number).read_bytes())
    write_counts(old, sorted(old.assigned_images()), seed=9)
    return old


def test_commands_have_their_exit_codes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RSCTL_STORE", str(store.root))
    assert command(["pack", "sweep", "--licence", "CC BY 4.0"]) == 0
    assert command(["pack", "sweep"]) == 2  # the file exists
    assert command(["verify", "sweep.rsctl"]) == 0
    capsys.readouterr()
    assert command(["verify", "sweep.rsctl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"] is True
    forged(tmp_path / "sweep.rsctl", {"counts.h5": hdf5_edit(move_a_draw)})
    assert command(["verify", "forged.rsctl", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"]
    assert command(["verify", "sweep.toml"]) == 2
    (tmp_path / "sweep.toml").write_text("name = 1")
    assert command(["verify", "sweep.toml"]) == 2
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "other"))
    assert command(["unpack", "sweep.rsctl", "--origin", "a colleague"]) == 0
    assert command(["unpack", "forged.rsctl"]) == 2
    assert command(["status", "sweep"]) == 0
    assert "from a colleague" in capsys.readouterr().out
    assert command(["export", "sweep"]) == 0
    assert "not computed in this store" in capsys.readouterr().out
