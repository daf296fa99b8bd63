"""What a plan will cost, from throughput measured in this store; nothing is guessed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rsctl.catalog.predictions import PREDICTIONS
from rsctl.errors import UserError
from rsctl.plan.plan import Plan
from rsctl.spec.runs import AttackSpec, CountSpec, TableSpec, TrainSpec, VerifySpec
from rsctl.store.attempts import attempt_numbers, read_attempt
from rsctl.store.fields import BENCH
from rsctl.store.layout import TABLES, Run, Store
from rsctl.store.records import read_or_pass
from rsctl.words import duration

Key = tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """Throughput of one kind of work: training images, noisy samples, or verified or attacked images per second, on one device."""

    per_second: float
    device: str
    time: float


@dataclass(frozen=True)
class Cost:
    """Hours of one device that a plan still needs."""

    hours: float
    devices: tuple[str, ...]
    unknown: tuple[str, ...]
    """Kinds of work that this store has never done."""

    @property
    def text(self) -> str:
        if self.unknown:
            return f"unknown (never measured here: {', '.join(self.unknown)})"
        return (
            f"{duration(3600 * self.hours)} on {' and '.join(self.devices)}"
            if self.devices
            else "nothing (everything is there)"
        )


def estimate(plan: Plan, store: Store) -> Cost:
    """Hours for what isn't done yet, at the throughput last measured for the same network, images and precision."""
    measured = measure(store)
    seconds, devices, unknown = 0.0, set(), set()
    work: list[tuple[Key, float]] = []
    for model in plan.models.values():
        run, recipe = store.run("models", model.spec.run_id), model.spec.recipe
        if not run.model_file.exists() and not model.spec.file:
            amount = model.spec.hyperparameters["draws"] if predicts(model.spec) else recipe.epochs
            work.append((training_key(model.spec), amount * model.images))
    for table in plan.tables.values():
        left = len(table.images) - len(done_images(store.run(table.spec.folder, table.spec.run_id)))
        if left > 0:
            parts = table_work(plan.models[table.spec.model_run].spec, table.spec)
            work += [(key, left * each) for key, each in parts]
    for key, amount in work:
        if key in measured:
            seconds += amount / measured[key].per_second
            devices.add(measured[key].device)
        else:
            unknown.add(" ".join(key))
    return Cost(seconds / 3600, tuple(sorted(devices)), tuple(sorted(unknown)))


def predicts(spec: TrainSpec) -> bool:
    """Whether it is a table of smoothed predictions instead of a model."""
    return spec.method == PREDICTIONS.name


def training_key(spec: TrainSpec) -> Key:
    """What training speed depends on; that of smoothed predictions is in draws."""
    return ("training", spec.method, spec.model, spec.dataset, spec.precision)


def table_work(train: TrainSpec, spec: TableSpec) -> list[tuple[Key, int]]:
    """The kinds of work in a table: what the speed of each depends on, and the units of it that one image stands for."""
    if isinstance(spec, CountSpec):
        key = sampling_key(train.model, spec.dataset, spec.precision, spec.compile)
        work = [(key, spec.n0 + spec.n + spec.transfer)]
        if spec.transfer:
            work.append((sampling_key(train.model, spec.dataset, "fp32", spec.compile), spec.transfer))
        return work
    if isinstance(spec, VerifySpec):
        return [(("verification", spec.verifier, spec.norm, train.model, spec.dataset), 1)]
    if isinstance(spec, AttackSpec):
        return [(("attack", spec.attack, spec.target, train.model, spec.dataset), 1)]
    raise TypeError(type(spec).__name__)


def sampling_key(model: str, dataset: str, precision: str, compiled: str) -> Key:
    """What sampling speed depends on."""
    return ("sampling", model, dataset, precision) + (() if compiled == "off" else (f"compiled: {compiled}",))


def done_images(run: Run) -> set[int]:
    """Images of the tasks that are done, by their attempt files; no shard is opened."""
    done: set[int] = set()
    for number, attempts in attempt_numbers(run).items():
        if read_attempt(run, number, attempts[-1]).ended == "done":
            done.update(run.images(number))
    return done


def measure(store: Store) -> dict[Key, Measured]:
    """The newest throughput of every kind of work in the store."""
    found: dict[Key, Measured] = {}
    for key, measured in _everything(store):
        if key not in found or measured.time > found[key].time:
            found[key] = measured
    return found


def _everything(store: Store) -> Iterator[tuple[Key, Measured]]:
    yield from _benched(store)
    for run in store.runs("models"):
        try:
            spec = run.train_spec
        except UserError:
            continue  # another version's run: status and export name it
        each = spec.hyperparameters["draws"] if predicts(spec) else spec.recipe.batch_size
        yield from _rates(run, training_key(spec), each)
    for folder in TABLES:
        for run in store.runs(folder):
            try:
                table = run.table_spec
                train = store.run("models", table.model_run).train_spec
            except UserError:
                continue
            work = table_work(train, table)
            if len(work) == 1:  # the rate of a mixture is of neither kind
                yield from _rates(run, *work[0])


def _benched(store: Store) -> Iterator[tuple[Key, Measured]]:
    """What `rsctl bench` measured."""
    for file in sorted((store.root / "bench").glob("*.json")):
        figures = read_or_pass(file, BENCH) or {"rows": []}
        for row in figures["rows"]:
            key = sampling_key(
                figures["model"], figures["dataset"], row["precision"], row.get("compile", "off")
            )
            yield key, Measured(row["samples_per_second"], figures["device"], figures["time"])


def _rates(run: Run, key: Key, each: int) -> Iterator[tuple[Key, Measured]]:
    """Throughput of each task's newest attempt; `each` is what one unit of its progress stands for."""
    for number, attempts in attempt_numbers(run).items():
        progress = read_attempt(run, number, attempts[-1]).progress
        if progress.get("rate") and progress.get("device"):
            yield (
                key,
                Measured(progress["rate"] * each, progress["device"], progress.get("time", 0.0)),
            )
