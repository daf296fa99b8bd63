"""Estimates the cost of a plan from throughput measured in this store, scaled by FLOPs to other shapes and widths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rsctl.catalog.predictions import PREDICTIONS
from rsctl.config.runs import AttackSpec, CountSpec, TableSpec, TrainSpec, VerifySpec
from rsctl.errors import UserError
from rsctl.plan.forward import NetworkShape, footprints, network, with_defaults
from rsctl.plan.plan import Plan
from rsctl.store.attempts import attempt_numbers, read_attempt
from rsctl.store.fields import BENCH
from rsctl.store.layout import Run, Store
from rsctl.store.records import read_or_skip
from rsctl.store.run_kinds import TABLES, RunKind
from rsctl.text import duration

Key = tuple[str | NetworkShape, ...]


@dataclass(frozen=True)
class Throughput:
    """Throughput of one kind of work: training images, noisy samples, or verified or attacked images per second, on one device."""

    per_second: float
    device: str
    time: float
    memory_gb: float = 0.0
    """Peak memory of such tasks, 0 if unknown."""


@dataclass(frozen=True)
class Cost:
    """Estimated hours on one device that a plan still needs."""

    hours: float
    devices: tuple[str, ...]
    unknown: tuple[str, ...]
    """Kinds of work never measured in this store."""
    scaled: tuple[str, ...] = ()
    """Networks whose speed is scaled from others by the FLOPs of a forward pass."""

    @property
    def text(self) -> str:
        if self.unknown:
            return f"unknown (never measured here: {', '.join(self.unknown)})"
        if not self.devices:
            return "nothing (everything is done)"
        about = f" (scaled by FLOPs from measurements of {', '.join(self.scaled)})" if self.scaled else ""
        return (
            f"{'about ' if about else ''}{duration(3600 * self.hours)} on {' and '.join(self.devices)}{about}"
        )


def estimate(plan: Plan, store: Store, measured: dict[Key, Throughput] | None = None) -> Cost:
    """Estimate the hours of unfinished work, at the throughput last measured for the same network, images and precision.

    If only another width, data set or image size was measured, the speed is scaled by the FLOPs of a forward pass.
    """
    measured = measure(store) if measured is None else measured
    seconds, devices, unknown, scaled = 0.0, set(), set(), set()
    work: list[tuple[Key, float]] = []
    for model in plan.models.values():
        run, recipe = store.model(model.spec.run_id), model.spec.recipe
        if not run.model_file.exists() and not model.spec.file:
            amount = model.spec.hyperparameters["draws"] if predicts(model.spec) else recipe.epochs
            work.append((training_key(model.spec), amount * model.images))
    for table in plan.tables.values():
        left = len(table.images) - len(done_images(store.table(table.spec)))
        if left > 0:
            parts = table_work(plan.models[table.spec.model_run].spec, table.spec)
            work += [(key, left * each) for key, each in parts]
    near = {key: _nearest(key, measured) for key, _ in work if key not in measured}
    needed = {_of(key) for pair in near.items() for key in pair if key and pair[1]}
    known = {one: found.flops for one, found in footprints(needed).items() if found.flops}
    for key, amount in work:
        source = key if key in measured else near[key]
        if source is None or (source != key and not {_of(key), _of(source)} <= known.keys()):
            unknown.add(" ".join(map(str, key)))
            continue
        if source != key:
            amount *= known[_of(key)] / known[_of(source)]
            scaled.add(str(_of(source)))
        seconds += amount / measured[source].per_second
        devices.add(measured[source].device)
    return Cost(seconds / 3600, tuple(sorted(devices)), tuple(sorted(unknown)), tuple(sorted(scaled)))


def _of(key: Key) -> NetworkShape:
    return next(part for part in key if isinstance(part, NetworkShape))


def _nearest(key: Key, measured: dict[Key, Throughput]) -> Key | None:
    """Return the last measurement of the same work with another size of the architecture; verification and attacks don't scale with FLOPs."""
    if key[0] not in ("training", "sampling"):
        return None
    wanted = _of(key)
    same = [
        other
        for other in measured
        if _of(other).model == wanted.model
        and [part for part in other if part != _of(other)] == [part for part in key if part != wanted]
    ]
    return max(same, key=lambda other: measured[other].time, default=None)


def predicts(spec: TrainSpec) -> bool:
    """Return whether it is a table of smoothed predictions instead of a model."""
    return spec.method == PREDICTIONS.name


def training_key(spec: TrainSpec) -> Key:
    """Return the key that determines training speed; for smoothed predictions the speed is in draws."""
    of = network(spec.model, spec.model_parameters, spec.dataset, spec.dataset_parameters)
    return ("training", spec.method, of, spec.precision)


def table_work(train: TrainSpec, spec: TableSpec) -> list[tuple[Key, int]]:
    """Return the kinds of work in a table: the key that determines the speed of each, and its units per image."""
    of = network(train.model, train.model_parameters, spec.dataset, spec.dataset_parameters)
    if isinstance(spec, CountSpec):
        key = sampling_key(of, spec.precision, spec.compile)
        work = [(key, spec.n0 + spec.n + spec.transfer)]
        if spec.transfer:
            work.append((sampling_key(of, "fp32", spec.compile), spec.transfer))
        return work
    if isinstance(spec, VerifySpec):
        return [(("verification", spec.verifier, spec.norm, of), 1)]
    if isinstance(spec, AttackSpec):
        return [(("attack", spec.attack, spec.target, of), 1)]
    raise TypeError(type(spec).__name__)


def sampling_key(of: NetworkShape, precision: str, compiled: str) -> Key:
    """Return the key that determines sampling speed."""
    return ("sampling", of, precision) + (() if compiled == "off" else (f"compiled: {compiled}",))


def done_images(run: Run) -> set[int]:
    """Return the images of finished tasks, from their attempt files; no shard is opened."""
    done: set[int] = set()
    for number, attempts in attempt_numbers(run).items():
        if read_attempt(run, number, attempts[-1]).ended == "done":
            done.update(run.images(number))
    return done


def measure(store: Store) -> dict[Key, Throughput]:
    """Return the newest throughput of every kind of work in the store."""
    found: dict[Key, Throughput] = {}
    peaks: dict[Key, float] = {}
    for key, measured in _everything(store):
        peaks[key] = max(measured.memory_gb, peaks.get(key, 0.0))
        if key not in found or measured.time > found[key].time:
            found[key] = measured
    return {key: replace(one, memory_gb=peaks[key]) for key, one in found.items()}


def _everything(store: Store) -> Iterator[tuple[Key, Throughput]]:
    yield from _benched(store)
    for run in store.runs(RunKind.MODELS):
        try:
            spec = run.train_spec
        except UserError:
            continue  # another version's run: status and export name it
        each = spec.hyperparameters["draws"] if predicts(spec) else spec.recipe.batch_size
        yield from _rates(run, training_key(spec), each)
    for kind in TABLES:
        for run in store.runs(kind):
            try:
                table = run.table_spec
                train = store.model(table.model_run).train_spec
            except UserError:
                continue
            work = table_work(train, table)
            partial = isinstance(table, CountSpec) and table.needed  # images without draws are among them
            if len(work) == 1 and not partial:  # the rate of a mixture applies to neither kind
                yield from _rates(run, *work[0])


def _benched(store: Store) -> Iterator[tuple[Key, Throughput]]:
    """Yield the measurements of `rsctl bench`."""
    for file in sorted((store.root / "bench").glob("*.json")):
        figures = read_or_skip(file, BENCH)
        if figures is None:
            continue
        # Older files are for architectures with default parameters, on data sets with one image size.
        parameters = figures.get("model_parameters", with_defaults(figures["model"]))
        of = network(figures["model"], parameters, figures["dataset"], figures.get("dataset_parameters", {}))
        for row in figures["rows"]:
            key = sampling_key(of, row["precision"], row.get("compile", "off"))
            yield key, Throughput(row["samples_per_second"], figures["device"], figures["time"])


def _rates(run: Run, key: Key, each: int) -> Iterator[tuple[Key, Throughput]]:
    """Yield the throughput of each task's newest attempt; `each` is the amount of work per unit of its progress."""
    for number, attempts in attempt_numbers(run).items():
        progress = read_attempt(run, number, attempts[-1]).progress
        if progress.get("rate") and progress.get("device"):
            yield (
                key,
                Throughput(
                    progress["rate"] * each,
                    progress["device"],
                    progress.get("time", 0.0),
                    progress.get("memory_gb", 0.0),
                ),
            )
