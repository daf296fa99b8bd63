"""Damaged and crafted data files: nothing crashes, hangs, takes much memory, or changes a number without a word."""

from __future__ import annotations

import json
import os
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from chain import Chain, tiny
from edited import as_before_digests, edited, without_digest

from rsctl.config.runs import CountSpec, VerifySpec
from rsctl.errors import RefusedError
from rsctl.results.sweep import sweep_results
from rsctl.store.files import publish, replace, to_json
from rsctl.store.imports import Import, ImportSpec, Radii, keep
from rsctl.store.layout import Run, Store
from rsctl.store.rows import DistanceBounds, ImageRows, Rows
from rsctl.store.shards import Shard, encode_shard
from rsctl.store.tables import data_files, reader_of, set_aside

IMAGES, CLASSES, N, N0 = 40, 10, 1000, 100
SHARED = Path(__file__).parents[3] / "shared/cases/hdf5"
COLUMNS = {"model_hash": "m", "model_run": "gaussian-digits-s0.5-aaaaaaaa", "dataset": "digits", "dataset_parameters": {}, "split": "test", "seed": 0, "precision": "fp32"}  # fmt: skip


def count_rows(index: list[int]) -> Rows:
    random, size = np.random.default_rng(1), len(index)
    label = np.array(index) % CLASSES
    chances = np.full((size, CLASSES), 0.03)
    chances[np.arange(size), label] = 0.73
    return Rows(
        index=np.array(index, np.int64), label=label.astype(np.int32), seconds=random.random(size), fingerprint=np.zeros(size, np.int32),
        selection_counts=random.multinomial(N0, chances).astype(np.int32), counts=random.multinomial(N, chances).astype(np.int32),
        n=np.full(size, N, np.int64),
    )  # fmt: skip


def finding_rows(index: list[int]) -> DistanceBounds:
    random, size = np.random.default_rng(2), len(index)
    return DistanceBounds(
        index=np.array(index, np.int64), label=(np.array(index) % CLASSES).astype(np.int32), seconds=random.random(size),
        fingerprint=np.zeros(size, np.int32), predicted=random.integers(0, CLASSES, size).astype(np.int32), lower=random.random(size),
        upper=1 + random.random(size),
    )  # fmt: skip


def encoded(run: Run, rows: ImageRows) -> bytes:
    attributes = {
        "spec_hash": run.spec.hash,
        "model_sha256": "a" * 64,
        "dimension": 64,
        "data_fingerprint": "f" * 64,
        "version": "0",
    }
    return encode_shard(Shard(rows, attributes, [{"device": "cpu", "precision": "fp32", "tile": 100}]))


def finished_run(store: Store, kind: str) -> Run:
    """A run whose only task is done and compacted."""
    index = list(range(3, 3 + 9 * IMAGES, 9))
    if kind == "counts":
        run = store.create(CountSpec(**COLUMNS, sigma=0.5, n0=N0, n=N, tile=100, block=100))
    else:
        run = store.create(
            VerifySpec(**COLUMNS, verifier="crown", revision=1, parameters={}, norm="l2", radii=[])
        )
    publish(run.task_file(0), to_json({"images": index}))
    rows = count_rows(index) if kind == "counts" else finding_rows(index)
    replace(run.path / ("counts.h5" if kind == "counts" else "findings.h5"), encoded(run, rows))
    return run


def kept_import(store: Store) -> Import:
    random = np.random.default_rng(3)
    radii = Radii(
        np.arange(IMAGES), (np.arange(IMAGES) % 10).astype(np.int32), (np.arange(IMAGES) % 9).astype(np.int32),
        random.random(IMAGES), random.random(IMAGES), np.full(IMAGES, 5e-4),
    )  # fmt: skip
    spec = ImportSpec(method="cohen", dataset="cifar10", split="test", model="x", sigma=0.5, seed=None, certificate="cohen", rows=radii.sha256)  # fmt: skip
    return keep(store, spec, radii)[0]


@dataclass
class Subject:
    """A file to damage, and what it said."""

    name: str
    path: Path
    content: bytes
    digest: bool
    read: Callable[[], tuple[dict[str, Any], str]]
    """Columns, and the problem that was told."""
    truth: dict[str, Any]

    def outcome(self) -> str:
        """The outcome of reading the file; fails where a number changed without a word."""
        started, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        columns, problem = self.read()
        assert time.monotonic() - started < 5, problem
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 1_000_000  # KiB
        if problem:
            assert str(self.path) in problem
            assert problem.isprintable()
            assert not columns
            crashed, late = "crashes" in problem, "takes longer" in problem
            return "crash kept out" if crashed else "hang kept out" if late else "refused"
        same = all(
            np.array_equal(columns[name], values, equal_nan=True) for name, values in self.truth.items()
        )
        if same:
            return "unchanged"
        assert not self.digest, f"{self.path} says something else, and nobody says so"
        return "changed, and said to have no digest"


def of_run(run: Run, *, digest: bool) -> Subject:
    (path,) = data_files(run) if digest else as_before_digests(run)

    def read() -> tuple[dict[str, Any], str]:
        table = reader_of(run).read()
        columns = {name: getattr(table.rows, name) for name in table.rows.COLUMNS} if len(table.rows) else {}
        if columns:
            assert table.without_digest == (not digest)
            assert table.rows.problem(len(table.functions)) == ""
        return columns, " ".join(table.problems)

    return Subject(
        f"{run.kind}, {'with' if digest else 'without'} digest",
        path,
        path.read_bytes(),
        digest,
        read,
        read()[0],
    )


def of_log(log: Import, *, digest: bool) -> Subject:
    path = log.path / "radii.h5"
    if not digest:
        values = json.loads((log.path / "spec.json").read_text())
        replace(log.path / "spec.json", to_json({k: v for k, v in values.items() if k != "digests"}))
        without_digest(path)

    def read() -> tuple[dict[str, Any], str]:
        try:
            columns = Import(log.path).radii.columns
        except RefusedError as error:
            return {}, str(error)
        return {
            name: column for name, column in columns.items() if digest or name not in ("seconds", "printed")
        }, ""

    # The SHA-256 of an import's rows vouches for them even without a digest of the file.
    return Subject(
        f"import, {'with' if digest else 'without'} digest", path, path.read_bytes(), True, read, read()[0]
    )


@pytest.fixture
def subjects(tmp_path: Path) -> list[Subject]:
    made = []
    for digest in (True, False):
        store = Store(tmp_path / str(digest))
        made += [of_run(finished_run(store, kind), digest=digest) for kind in ("counts", "verifications")]
        made.append(of_log(kept_import(store), digest=digest))
    return made


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """Flipped bits, mostly one; a cut; a sector that reads as zeros or as another; something behind the end."""
    found, kind = bytearray(data), random.choice(8, p=[0.4, 0.15, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05])
    at = int(random.integers(len(data)))
    if kind <= 1:
        for _ in range(1 if kind == 0 else int(random.integers(2, 9))):
            found[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
    elif kind == 2:
        del found[at:]
    elif kind in (3, 4):
        sector = 512 if kind == 3 else 4096
        first = at // sector * sector
        found[first : first + sector] = bytes(len(found[first : first + sector]))
    elif kind == 5:
        found[at : at + 8] = random.bytes(len(found[at : at + 8]))
    elif kind == 6:
        found[at : at + 8] = b"\xff" * len(found[at : at + 8])
    else:
        found += random.bytes(int(random.integers(1, 5000)))
    return bytes(found)


def fuzz(subjects: list[Subject], cases: int, seed: int) -> dict[str, Counter[str]]:
    random, counts = np.random.default_rng(seed), {subject.name: Counter[str]() for subject in subjects}
    for number in range(cases):
        subject = subjects[number % len(subjects)]
        replaced = damaged(subject.content, random)
        subject.path.unlink()  # the new file has an inode of its own
        subject.path.write_bytes(replaced)
        counts[subject.name][subject.outcome()] += 1
    return counts


def test_damage_is_noticed_or_harmless(subjects: list[Subject]) -> None:
    counts = fuzz(subjects, 300, 0)
    for name, found in counts.items():
        assert found["refused"] > 10, (name, found)
    # A file with a digest never gets as far as HDF5.
    assert all(
        set(found) <= {"refused", "unchanged"} for name, found in counts.items() if "with digest" in name
    )


@pytest.mark.long
def test_damage_is_noticed_or_harmless_in_20_000_cases(subjects: list[Subject]) -> None:
    for name, found in fuzz(subjects, 20_000, 1).items():
        print(f"{name:32} {dict(found.most_common())}")


# ------------------------------------------------------------------ crafted


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((IMAGES,), "i4")
    layout[:] = h5py.VirtualSource("/dev/zero", "label", (IMAGES,))
    del file["label"]
    file.create_virtual_dataset("label", layout)


def external(file: Any) -> None:
    del file["label"]
    file.create_dataset("label", (IMAGES,), "i4", external=[("/etc/passwd", 0, 4 * IMAGES)])


def linked(link: Any) -> Callable[[Any], None]:
    def craft(file: Any) -> None:
        del file["label"]
        file["label"] = link

    return craft


def cycle(file: Any) -> None:
    file["looks"] = file["/"]


def declared(shape: tuple[int, ...], **options: Any) -> Callable[[Any], None]:
    def craft(file: Any) -> None:
        del file["label"]
        file.create_dataset("label", shape, "i4", **options)

    return craft


def column(values: Any, name: str = "label") -> Callable[[Any], None]:
    def craft(file: Any) -> None:
        del file[name]
        file[name] = values

    return craft


def cell(name: str, value: Any) -> Callable[[Any], None]:
    def craft(file: Any) -> None:
        file[name][0] = value

    return craft


def attribute(name: str, value: Any) -> Callable[[Any], None]:
    def craft(file: Any) -> None:
        file.attrs[name] = value

    return craft


def moved_counts(file: Any) -> None:
    file["counts"][0, :2] = [N + 1, -1]
    file["counts"][0, 2:] = 0


def endless_functions(file: Any) -> None:
    del file["functions"]
    file.create_dataset("functions", (10**12,), h5py.string_dtype(), chunks=(10**6,))


LABELS = np.arange(IMAGES) % 10
CRAFTED: dict[str, Callable[[Any], None]] = {
    "virtual": virtual, "external": external, "cycle": cycle,
    "soft link": linked(h5py.SoftLink("/fingerprint")), "dangling link": linked(h5py.SoftLink("/nothing")),
    "external link": linked(h5py.ExternalLink("/dev/zero", "/label")),
    "terabytes": declared((10**12,), chunks=(10**6,)), "terabytes, compressed": declared((10**12,), chunks=(10**6,), compression="gzip"),
    "terabytes, contiguous": declared((2**40,)), "never written": declared((IMAGES,), chunks=(7,)),
    "great rank": declared((1,) * 32), "rank 0": column(np.int32(3)), "rank 2": column(np.zeros((IMAGES, 1), np.int32)),
    "no values": column(h5py.Empty("i4")), "group": lambda file: (file.__delitem__("label"), file.create_group("label")),
    "long integers": column(LABELS.astype("i8")), "big-endian": column(LABELS.astype(">i4")), "floats": column(LABELS.astype("f4")),
    "texts": column(["x"] * IMAGES), "compound": column(np.zeros(IMAGES, [("a", "i4"), ("b", "f8")])), "booleans": column(LABELS > 3),
    "fewer": column(LABELS[:-1].astype("i4")), "negative label": cell("label", -1), "label of no class": cell("label", 10),
    "negative position": cell("index", -3), "position twice": cell("index", 12), "another's position": cell("index", 4),
    "time that is no number": cell("seconds", np.nan), "negative time": cell("seconds", -1.0), "other function": cell("fingerprint", 1),
    "negative count": moved_counts, "one draw more": lambda file: file["counts"].__setitem__((0, 0), 999), "other n": cell("n", 1001),
    "no functions": lambda file: file.__delitem__("functions"), "functions that are no JSON": column(["{"], "functions"),
    "functions that are no objects": column(["[1]"], "functions"), "endless functions": endless_functions,
    "no counts": lambda file: file.__delitem__("counts"), "other schema": attribute("schema", 2), "array as attribute": attribute("dimension", [64, 64]),
    "other dimension": attribute("dimension", 65), "dimension of text": attribute("dimension", "64"), "no SHA-256": attribute("model_sha256", "\x1b[2J"),
    "other run": attribute("spec_hash", "0" * 64),
}  # fmt: skip
VALUES = ("another's position", "other dimension", "dimension of text", "no SHA-256")
"""Columns that are compared with the run's tasks and its data set only where nothing vouches for the file."""


@pytest.mark.parametrize("digest", [True, False], ids=["with digest", "without"])
def test_crafted_files_are_refused_by_name_whoever_vouches_for_them(tmp_path: Path, digest: bool) -> None:
    """A digest says that nothing changed, and nothing of who wrote it."""
    subject = of_run(finished_run(Store(tmp_path), "counts"), digest=digest)
    for name, craft in CRAFTED.items():
        if digest and name in VALUES:
            continue
        subject.path.unlink()
        subject.path.write_bytes(subject.content)
        with edited(subject.path) as file:
            craft(file)
        assert subject.outcome() == "refused", name


def test_what_is_no_file_is_refused_too(tmp_path: Path) -> None:
    subject = of_run(finished_run(Store(tmp_path), "counts"), digest=True)
    elsewhere = tmp_path / "elsewhere"
    subject.path.unlink()
    links = [lambda p, to=to: os.symlink(to, p) for to in ("/dev/zero", elsewhere, subject.path)]
    for number, make in enumerate((os.mkdir, os.mkfifo, *links), 1):
        make(subject.path)
        assert subject.outcome() == "refused"
        assert f"unusable-{number}" in set_aside(subject.path, "test")
        assert not os.path.lexists(subject.path)


def test_a_file_without_a_digest_is_none_of_a_run_that_writes_them(tmp_path: Path) -> None:
    run = finished_run(Store(tmp_path), "counts")
    (path,) = data_files(run)
    without_digest(path)
    (problem,) = reader_of(run).read().problems
    assert "it has no digest" in problem


@pytest.mark.skipif(not SHARED.exists(), reason="the samples that crash HDF5 aren't here")
def test_a_file_that_crashes_hdf5_is_a_sentence_and_the_next_one_is_read(tmp_path: Path) -> None:
    subject = of_run(finished_run(Store(tmp_path), "counts"), digest=False)
    for _ in range(2):  # the second time nothing is tried
        subject.path.write_bytes((SHARED / "shard_flip_segv_1745_1.h5").read_bytes())
        assert subject.outcome() in ("crash kept out", "refused")  # as the version of HDF5 has it
        subject.path.write_bytes(subject.content)
        assert subject.outcome() == "unchanged"


# ------------------------------------------------------------------ commands


def sampled(chain: Chain, values: dict[str, Any]) -> list[Run]:
    """The certification runs of a sweep, with counts of every image and models that nobody asks."""
    chain.plan(values)
    runs = list(chain.store.runs("counts"))
    for run in runs:
        replace(chain.store.run("models", run.count_spec.model_run).model_file, b"a model")
        replace(run.path / "counts.h5", encoded(run, count_rows(sorted(run.assigned_images()))))
    return runs


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def lost_sector(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:8192] + bytes(4096) + data[12288:])


def crafted(name: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with edited(path) as file:
            CRAFTED[name](file)

    return damage


def flipped_label(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["label"][0] = (file["label"][0] + 1) % CLASSES


def crashing(path: Path) -> None:
    sample = SHARED / "shard_flip_segv_1745_1.h5"
    path.write_bytes(sample.read_bytes() if sample.exists() else bytes(5000))


DAMAGES = (cut, lost_sector, crafted("virtual"), crafted("terabytes"), flipped_label, crashing)
NOT_AS_WRITTEN = (0, 1, 4, 5)
"""Those that their digest gives away: the crafted ones have a right one, and `status` reads no HDF5."""


def test_commands_go_on_with_the_rest_name_what_is_damaged_and_sample_it_again(chain: Chain) -> None:
    values = tiny(grid={"sigma": [0.25 * k for k in range(1, 8)]}, certification={"n0": N0, "n": N})
    runs = sampled(chain, values)
    files = [run.path / "counts.h5" for run in runs]
    for file, damage in zip(files, DAMAGES, strict=False):
        damage(file)
    before = [file.read_bytes() for file in files]
    shown = chain.cli("export", "tiny", "--format", "json", "--radii", "0.1")
    assert shown.code == 0
    rows = {row["run"]: row["images"] for row in json.loads(shown.out)["rows"]}
    assert [rows[run.id] for run in runs] == [0] * len(DAMAGES) + [20]
    named = [f"{run.id}/counts.h5: " in " ".join(json.loads(shown.out)["notes"]) for run in runs]
    assert named == [True] * len(DAMAGES) + [False]
    for _ in range(2):  # the second look relies on what the first found right
        status = chain.cli("status", "tiny", "--json")
        assert status.code == 0
        (told,) = json.loads(status.out)["sweeps"]
        assert told["damaged"].keys() == {f"counts/{run.id}" for run in (runs[k] for k in NOT_AS_WRITTEN)}
    committed = chain.plan(values)
    notes = "\n".join(committed.notes)
    assert [str(file) in notes for file in files] == [True] * len(DAMAGES) + [False]
    assert [file.exists() for file in files] == [False] * len(DAMAGES) + [True]
    aside = [file.with_name("counts.h5.unusable-1").read_bytes() for file in files[:-1]]
    assert aside == before[:-1]  # nothing is deleted
    assert {request.task.run.id for request in committed.requests} >= {run.id for run in runs[:-1]}


def test_a_store_from_before_digests_is_readable_said_once_and_upgraded(chain: Chain) -> None:
    (run,) = sampled(chain, values := tiny(certification={"n0": N0, "n": N}))
    before = reader_of(run).read().rows
    as_before_digests(run)
    shown = sweep_results(chain.store, "tiny")
    assert sum("no digest" in note for note in shown.notes) == 1
    committed = chain.plan(values)
    assert [note for note in committed.notes if "no digest" in note] == committed.notes != []
    assert [path.name for path in data_files(run)] == ["counts.2.h5"]
    table = reader_of(Run(run.path)).read()
    assert table.without_digest == 0
    for name in ("index", "label", "counts", "selection_counts"):
        assert np.array_equal(getattr(table.rows, name), getattr(before, name))
    assert chain.plan(values).notes == []
    again = sweep_results(chain.store, "tiny")
    assert ([row.acr for row in again.rows], "no digest" in str(again.notes)) == (
        [row.acr for row in shown.rows],
        False,
    )


def test_labels_that_two_old_tables_contradict_are_told_and_not_vouched_for(chain: Chain) -> None:
    values = tiny(grid={"sigma": [0.25, 0.5]}, certification={"n0": N0, "n": N})
    runs = sampled(chain, values)
    for run in runs:
        as_before_digests(run)
    flipped_label(runs[1].path / "counts.h5")
    told = sweep_results(chain.store, "tiny").notes[0]
    assert "DAMAGED LABELS" in told
    assert all(f"counts/{run.id}" in told for run in runs)
    committed = chain.plan(values)
    assert "DAMAGED LABELS" in committed.notes[0]
    assert [path.name for run in runs for path in data_files(run)] == ["counts.h5"] * 2
