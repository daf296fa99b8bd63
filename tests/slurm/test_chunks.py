"""Which tasks share an array, and in which order arrays are handed over; no cluster is needed."""

from __future__ import annotations

from pathlib import Path

from rsctl.cluster.slurm.arrays import make_arrays
from rsctl.config.sections import StageResources
from rsctl.plan.tasks import Request, Task
from rsctl.store.layout import Store


def test_what_others_wait_for_comes_first_and_no_array_is_too_long(tmp_path: Path) -> None:
    store, plain = Store(tmp_path), StageResources(threads=1)
    teacher, student, other = (Task(store.run("models", name), 0) for name in ("teacher", "student", "other"))
    counts = [Task(store.run("counts", "student-1"), number) for number in range(5)]
    requests = [
        *(Request(task, (student,), plain, "code", 0) for task in counts),
        Request(student, (teacher,), plain, "code", 0),
        Request(other, (), StageResources(threads=2), "code", 0),
        Request(teacher, (), plain, "code", 0),
    ]
    arrays = make_arrays(requests, 2)
    assert [len(array.requests) for array in arrays] == [1, 1, 1, 2, 2, 1]
    order = [request.task.key for array in arrays for request in array.requests]
    assert order.index(teacher.key) < order.index(student.key) < order.index(counts[0].key)
    assert arrays[-1].needs == (student.key,)
    # A model that is there is waited for by nobody: all its tasks, and another model's, share arrays.
    for task in (teacher, student):
        task.run.model_file.parent.mkdir(parents=True)
        task.run.model_file.write_bytes(b"a model")
    assert [array.needs for array in make_arrays(requests[:5], 100)] == [()]


def test_a_student_waits_for_its_start_and_its_teacher_and_for_what_is_missing_alone(tmp_path: Path) -> None:
    store, plain = Store(tmp_path), StageResources(threads=1)
    names = ("start", "teacher", "first", "second")
    start, teacher, first, second = (Task(store.run("models", name), 0) for name in names)
    counts = Task(store.run("counts", "first-1"), 0)
    requests = [
        Request(counts, (first,), plain, "code", 0),
        Request(first, (start, teacher), plain, "code", 0),
        Request(second, (start,), plain, "code", 0),
        Request(start, (), plain, "code", 0),
        Request(teacher, (start,), plain, "code", 0),
    ]
    arrays = make_arrays(requests, 100)
    keys = [[request.task.key for request in array.requests] for array in arrays]
    # Who misses the same models shares an array; the teacher itself starts from the start.
    assert keys == [[start.key], [second.key, teacher.key], [first.key], [counts.key]]
    assert [array.needs for array in arrays] == [(), (start.key,), (start.key, teacher.key), (first.key,)]
    start.run.model_file.parent.mkdir(parents=True)
    start.run.model_file.write_bytes(b"a model")
    arrays = make_arrays([requests[1], requests[4]], 100)
    assert [array.needs for array in arrays] == [(), (teacher.key,)]
