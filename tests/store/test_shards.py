"""Files in the store that aren't what they should be, and files that change while they are read."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from chain import Chain, tiny
from edited import edited

from rsctl.config.runs import CountSpec
from rsctl.errors import InputError, RefusedError, UnavailableError, UserError
from rsctl.plan.tasks import Task
from rsctl.store.attempts import Claim, State, attempt_file, attempt_numbers, here, is_alive, latest_attempt
from rsctl.store.compaction import compact
from rsctl.store.files import append, publish, read_records, replace
from rsctl.store.layout import Run, Store
from rsctl.store.shards import Pending, Rows, Shard, encode_shard, read_shard
from rsctl.store.tables import Reader, data_files, read_table, set_aside, shard_file


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def text(path: Path) -> None:
    path.write_text("<html>404</html>")


def foreign(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["something"] = [1, 2, 3]


def other_run(path: Path) -> None:
    with edited(path) as file:
        file.attrs["spec_hash"] = "0" * 64


def other_draws(path: Path) -> None:
    with edited(path) as file:
        file["counts"][0, 0] += 7
        file["n"][0] += 7


def wrong_sum(path: Path) -> None:
    with edited(path) as file:
        file["counts"][0, 0] += 1


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    data[:8] = b"\x00" * 8
    path.write_bytes(bytes(data))


DAMAGE = [truncated, empty, noise, text, foreign, other_run, other_draws, wrong_sum, flipped]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Chain], None]:
    """Gives a store the model of the tiny sweep, trained once."""
    made: dict[str, bytes] = {}

    def give(chain: Chain) -> None:
        committed = chain.plan(tiny())
        task = committed.requests[0].task
        if not made:
            chain.run(task)
            made["model"] = task.run.model_file.read_bytes()
        else:
            replace(task.run.model_file, made["model"])

    return give


@pytest.fixture
def finished(chain: Chain, trained: Callable[[Chain], None]) -> Chain:
    trained(chain)
    for request in chain.plan(tiny()).requests:
        chain.run(request.task)
    return chain


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__)
@pytest.mark.parametrize("compacted", [True, False], ids=["compacted", "shard"])
def test_a_file_that_is_no_shard_is_set_aside_named_and_its_images_run_again(
    finished: Chain, damage: Callable[[Path], None], compacted: bool
) -> None:
    run = finished.counts_run()
    before = read_table(run).rows
    (file,) = data_files(run)
    if not compacted:
        # As if the run had been killed before it was compacted.
        shard = shard_file(run, 0, 1)
        shard.write_bytes(file.read_bytes())
        file.unlink()
        file = shard
    damage(file)
    damaged = file.read_bytes()
    problems = read_table(run).problems
    assert len(problems) == 1
    assert str(file) in problems[0]
    committed = finished.plan(tiny())
    aside = file.with_name(f"{file.name}.unusable-1")
    assert aside.read_bytes() == damaged
    assert not file.exists()
    (note,) = committed.notes
    assert str(file) in note
    assert aside.name in note
    assert len(committed.requests) == 2
    for request in committed.requests:
        finished.run(request.task)
    after = read_table(run)
    assert after.problems == []
    for name in ("index", "selection_counts", "counts", "label"):
        assert np.array_equal(getattr(before, name), getattr(after.rows, name))
    assert finished.plan(tiny()).requests == []
    assert aside.read_bytes() == damaged


def test_a_task_whose_result_is_gone_is_not_called_done(finished: Chain) -> None:
    from rsctl.cluster.control import sweep_statuses

    (file,) = data_files(finished.counts_run())
    states = {s.state for s in sweep_statuses(finished.place, "tiny").values()}
    assert states == {State.DONE}
    empty(file)
    finished.plan(tiny())
    found = sweep_statuses(finished.place, "tiny")
    assert [s.state for s in found.values()] == [State.DONE, State.LOST, State.LOST]
    assert all("is gone" in s.reason for s in found.values() if s.state == State.LOST)


def test_a_task_that_died_after_its_last_shard_is_ended_by_a_submission(finished: Chain) -> None:
    """Its counts are all in, but nothing says so and nobody compacted them."""
    run = finished.counts_run()
    (file,) = data_files(run)
    file.rename(shard_file(run, 1, 1))
    attempt_file(run, 1, 1).write_bytes(
        attempt_file(run, 1, 1).read_bytes().partition(b'\n{"record":"end"')[0]
    )
    (request,) = finished.plan(tiny()).requests
    assert request.task.number == 1
    finished.run(request.task)
    assert [path.name for path in data_files(run)] == ["counts.h5"]
    assert finished.plan(tiny()).requests == []


def test_a_certifier_that_meets_a_corrupt_file_sets_it_aside_itself(finished: Chain) -> None:
    run = finished.counts_run()
    before = read_table(run).rows
    (file,) = data_files(run)
    truncated(file)
    for number in run.task_numbers():
        finished.run(Task(run, number))
    assert np.array_equal(before.counts, read_table(run).rows.counts)
    assert (run.path / "counts.h5.unusable-1").exists()


def test_counts_of_another_checkpoint_are_refused_and_nothing_is_mixed(finished: Chain) -> None:
    run = finished.counts_run()
    (file,) = data_files(run)
    with edited(file) as opened:
        opened.attrs["model_sha256"] = "f" * 64
        for name in ("index", "label", "selection_counts", "counts", "n", "seconds", "fingerprint"):
            values = opened[name][:5]
            del opened[name]
            opened[name] = values
    task = Task(run, 0)
    with pytest.raises(RefusedError, match="another checkpoint"):
        finished.run(task)


def test_an_edited_spec_is_refused(finished: Chain) -> None:
    run = finished.counts_run()
    file = run.path / "spec.json"
    file.write_text(file.read_text().replace('"n": 200', '"n": 100'))
    with pytest.raises(RefusedError, match="it was edited"):
        finished.plan(tiny())
    with pytest.raises(RefusedError, match="it was edited"):
        finished.run(Task(Store(finished.place.store).run("counts", run.id), 0))


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"schema": 99}', '{"images": ["a"]}'])
def test_spoilt_json_is_an_input_error_that_names_the_file(finished: Chain, damage: str) -> None:
    run = finished.counts_run()
    for file in (run.path / "spec.json", run.task_file(0), finished.store.sweep_folder("tiny") / "plan.json"):
        kept = file.read_bytes()
        file.write_text(damage)
        with pytest.raises(UserError, match=file.name):
            finished.plan(tiny())
        file.write_bytes(kept)


# ------------------------------------------------------------------ compaction


def fake_run(store: Store, tasks: dict[int, list[int]]) -> Run:
    """A certification run without a model: for what only concerns files."""
    spec = CountSpec(
        model_hash="m", model_run="gaussian-digits-s0.5-aaaaaaaa", dataset="digits", dataset_parameters={}, split="test",
        sigma=0.5, seed=0, n0=10, n=20, precision="fp32", tile=10, block=10,
    )  # fmt: skip
    run = store.create(spec)
    run.write_launch(
        {"alpha": 0.01, "certificates": ["cohen"], "code": "", "data": "", "plugins": [], "threads": 1}
    )
    for number, images in tasks.items():
        publish(run.task_file(number), json.dumps({"images": images}).encode())
    return run


def write_shard(run: Run, task: int, attempt: int, images: list[int], pending: tuple[int, ...] = ()) -> Path:
    count = len(images)
    rows = Rows.empty(3)
    if count:
        rows = Rows(
            index=np.array(images, np.int64), label=np.zeros(count, np.int32),
            selection_counts=np.tile(np.array([10, 0, 0], np.int32), (count, 1)),
            counts=np.tile(np.array([18, 1, 1], np.int32), (count, 1)),
            n=np.full(count, 20, np.int64), seconds=np.ones(count), fingerprint=np.zeros(count, np.int32),
        )  # fmt: skip
    under_way = [Pending(i, 0, np.array([10, 0, 0], np.int32), np.array([10, 0, 0], np.int32), 1, 1, 0.1, 0) for i in pending]  # fmt: skip
    attributes = {"spec_hash": run.spec.hash, "model_sha256": "a" * 64, "dimension": 64}
    path = shard_file(run, task, attempt)
    replace(path, encode_shard(Shard(rows, attributes, [{"device": "cpu"}], under_way), {}, 0.01))
    return path


def test_compaction_waits_for_every_assigned_image(tmp_path: Path) -> None:
    run = fake_run(Store(tmp_path), {0: [1, 2], 1: [3]})
    write_shard(run, 0, 1, [1, 2])
    assert not compact(run)
    write_shard(run, 1, 1, [3])
    assert compact(run)
    assert [path.name for path in data_files(run)] == ["counts.h5"]
    assert read_table(run).rows.index.tolist() == [1, 2, 3]
    assert not compact(run)


def test_a_second_compaction_never_reuses_the_number_of_a_file_set_aside(tmp_path: Path) -> None:
    run = fake_run(Store(tmp_path), {0: [1]})
    write_shard(run, 0, 1, [1])
    compact(run)
    publish(run.task_file(1), b'{"images": [2]}')
    write_shard(run, 1, 1, [2])
    compact(run)
    assert [path.name for path in data_files(run)] == ["counts.h5", "counts.2.h5"]
    set_aside(run.path / "counts.h5", "test")
    write_shard(run, 0, 2, [1])
    assert compact(run)
    assert [path.name for path in data_files(run)] == ["counts.2.h5", "counts.3.h5"]
    assert read_table(run).rows.index.tolist() == [1, 2]


def test_compaction_leaves_what_other_tasks_have_under_way(tmp_path: Path) -> None:
    """An extension may have started a task after the finished images were listed."""
    run = fake_run(Store(tmp_path), {0: [1]})
    write_shard(run, 0, 1, [1])
    going = write_shard(run, 1, 1, [], pending=(2,))
    assert compact(run)
    assert going.exists()
    assert read_shard(going).pending[0].index == 2


def test_the_lowest_attempt_that_finished_an_image_counts(tmp_path: Path) -> None:
    run = fake_run(Store(tmp_path), {0: [1, 2]})
    first, second = write_shard(run, 0, 2, [1]), write_shard(run, 0, 10, [1, 2])
    for path, label in ((first, 1), (second, 2)):
        with edited(path) as file:
            file["label"][...] = label
    assert read_table(run).rows.label.tolist() == [1, 2]


def test_a_reader_never_misses_rows_while_a_run_is_compacted(tmp_path: Path) -> None:
    """Shards vanish between listing and reading; their rows are in the new file by then."""
    run = fake_run(Store(tmp_path), {number: [number] for number in range(5)})
    for number in range(5):
        write_shard(run, number, 1, [number])

    class Overtaken(Reader[Rows]):
        loaded = 0

        def _load(self, path: Path) -> Shard | str | None:
            self.loaded += 1
            if self.loaded == 3:
                assert compact(run)
            return super()._load(path)

    assert Overtaken(run, Rows).read().rows.index.tolist() == [0, 1, 2, 3, 4]


def test_task_numbers_go_on_beyond_9999(tmp_path: Path) -> None:
    run = fake_run(Store(tmp_path), {9999: [1], 10000: [2], 123456: [3]})
    for number, image in ((9999, 1), (10000, 2), (123456, 3)):
        write_shard(run, number, 12, [image])
        Claim.take(run, number, here())
    assert run.task_numbers() == [9999, 10000, 123456]
    assert sorted(attempt_numbers(run)) == [9999, 10000, 123456]
    assert read_table(run).rows.index.tolist() == [1, 2, 3]
    assert run.images(123456) == [3]


def test_two_that_set_one_file_aside_at_once_do_no_harm(tmp_path: Path) -> None:
    for turn in range(20):
        path = tmp_path / f"{turn}.h5"
        path.write_bytes(b"spoilt")
        start = threading.Barrier(3)

        def go(path: Path = path, start: threading.Barrier = start) -> None:
            start.wait()
            set_aside(path, "test")

        threads = [threading.Thread(target=go) for _ in range(2)]
        for thread in threads:
            thread.start()
        start.wait()
        for thread in threads:
            thread.join()
        assert not path.exists()
        assert (tmp_path / f"{turn}.h5.unusable-1").read_bytes() == b"spoilt"


# ------------------------------------------------------------------ attempts


def test_a_claim_is_exclusive_and_whole(tmp_path: Path) -> None:
    run = fake_run(Store(tmp_path), {0: [1]})
    start, numbers = threading.Barrier(8), []

    def take() -> None:
        start.wait()
        numbers.append(Claim.take(run, 0, here()).number)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 9))
    attempt = latest_attempt(run, 0)
    assert attempt is not None
    assert attempt.claim["pid"] == here()["pid"]


def test_the_end_of_an_attempt_is_found_however_long_its_reason(tmp_path: Path) -> None:
    run = fake_run(Store(tmp_path), {0: [1]})
    claim = Claim.take(run, 0, here())
    claim.end("failed", "Missing key(s) in state_dict: " + '"1.layer.weight", ' * 5000)
    attempt = latest_attempt(run, 0)
    assert attempt is not None
    assert attempt.ended == "failed"
    assert attempt.reason.startswith("Missing key(s)")


def test_a_torn_record_spoils_only_itself(tmp_path: Path) -> None:
    run = fake_run(Store(tmp_path), {0: [1]})
    claim = Claim.take(run, 0, here())
    claim.write("progress", done=1.0)
    with open(claim.file, "ab") as file:
        file.write(b'\n{"record":"progress","done":2')
    append(claim.file, {"record": "progress", "done": 3.0})
    assert [r["done"] for r in read_records(claim.file) if r["record"] == "progress"] == [1.0, 3.0]


def test_a_recycled_pid_is_not_taken_for_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = here()
    assert is_alive(claim) is True
    assert is_alive({**claim, "start": "1"}) is False
    assert is_alive({**claim, "boot": "before the restart"}) is False
    assert is_alive({**claim, "boot": "another machine", "host": "elsewhere"}) is None
    assert is_alive({**claim, "host": "the name this laptop had at home"}) is True


def test_a_folder_where_a_file_stands_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x", tmp_path / "file" / "deeper" / "x"):
        with pytest.raises(UnavailableError, match="a part of the path is a file"):
            replace(path, b"")


def test_images_are_never_given_to_two_tasks(tmp_path: Path, chain: Chain) -> None:
    """Eight submitters at once, each with another number of images and of shards."""
    start = threading.Barrier(8)
    failed: list[BaseException] = []

    def submit(number: int) -> None:
        sweep: dict[str, Any] = tiny(
            name=f"s{number}", certification={"max_images": 40 + 37 * number, "shards": 1 + 3 * number % 7}
        )
        start.wait()
        try:
            chain.plan(sweep)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    run = chain.counts_run()
    given = [image for number in run.task_numbers() for image in run.images(number)]
    assert len(given) == len(set(given)) == 40 + 37 * 7


def test_unknown_sweeps_and_runs_list_what_there_is(finished: Chain) -> None:
    with pytest.raises(InputError, match="Available: tiny"):
        finished.store.sweep("tinny")
    with pytest.raises(InputError, match="no run 'x'"):
        finished.store.find_run("x")
    with pytest.raises(InputError):
        finished.store.find_run("")
    model = next(finished.store.runs("models"))
    assert finished.store.find_run(model.id) == model
    for spelling in (f"counts/{finished.counts_run().id}", finished.counts_run().id[:-3]):
        assert finished.store.find_run(spelling) == finished.counts_run()
