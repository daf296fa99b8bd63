"""Estimates the memory of a plan's tasks from their networks, batches and images, and from measurements of such tasks."""

from __future__ import annotations

from dataclasses import dataclass

from rsctl.catalog import find, known_datasets, known_methods
from rsctl.catalog.held import HELD_MOST, HELD_SHARE
from rsctl.config.runs import AttackSpec, CountSpec
from rsctl.plan.cost import Key, Throughput, predicts, table_work, training_key
from rsctl.plan.forward import Footprint, NetworkShape, footprints, network
from rsctl.plan.plan import ModelPlan, Plan, TablePlan
from rsctl.store.run_kinds import RunKind

PYTHON, TRAINER = 0.6, 0.8
"""GB of a process with its libraries loaded and no network, in sampling and in training."""
SCATTERED = 1.2
"""Factor on activations for memory that lies idle between tensors of changing sizes."""
LEAST = 1.0
"""Least GB requested for a task."""
MARGIN = 1.25
"""Safety factor on a peak that was measured once."""
LOADED = 4
"""Copies of a network's weights while it is loaded: as stored, as a network, folded, and in another layout."""
WORKSPACE = 2.0
"""Factor on activations of a pass without gradients: large tensors come and go, and the allocator keeps 1 to 3 times their peak (measured)."""
NOISE = 2
"""Copies of a batch or tile beside its activations: the noise, and its sum with the images."""
TILE = 400
"""The tile `auto` on a CPU."""
ATTACKED, ATTACKED_NUMBERS = 512, 12_000_000
"""Images, and numbers in them, in one pass of an attack at most (`jobs.attacks.search`)."""
PREDICTED = 1000
"""Noises in one pass of a teacher's predictions (`jobs.predictions`)."""
GB = 2**30


@dataclass(frozen=True)
class Memory:
    """GB of one task, all its processes together."""

    total: float
    network: float
    """Share of the device, if the task has one: weights, gradients, optimiser state and activations."""
    known: bool
    """False if its network couldn't be measured and isn't counted."""

    @property
    def launch(self) -> dict[str, float]:
        """Fields of the launch file."""
        return {"reckoned_gb": self.total, "network_gb": self.network}


def estimate_memory(
    plan: Plan, measured: dict[Key, Throughput], *, only_known: bool = False
) -> dict[str, Memory]:
    """Estimate the memory per task of each model and table, by `models/<id>` and `counts/<id>`.

    With `only_known` no network is measured for it.
    """
    shapes = {f"models/{name}": _network(model) for name, model in plan.models.items()}
    shapes |= {key: _network(plan.models[table.spec.model_run], table) for key, table in plan.tables.items()}
    known = footprints(set(shapes.values()), only_known=only_known)
    found = {}
    for name, model in plan.models.items():
        key = f"models/{name}"
        processes, nodes = model.resources.processes, model.resources.nodes
        images = round(model.images / (1 - model.spec.holdout))
        parts = known.get(shapes[key])
        found[key] = _task(
            [training_key(model.spec)], measured, model.spec.dataset, images * model.pixels,
            None if parts is None else trained(model, parts, processes), processes // nodes or 1, TRAINER,
        )  # fmt: skip
    for key, table in plan.tables.items():
        keys = [kind for kind, _ in table_work(plan.models[table.spec.model_run].spec, table.spec)]
        images = -(-len(table.images) // table.shards)
        parts = known.get(shapes[key])
        found[key] = _task(
            keys,
            measured,
            table.spec.dataset,
            images * table.pixels,
            None if parts is None else evaluated(table, parts),
            1,
            PYTHON,
        )
    return found


def _network(model: ModelPlan, table: TablePlan | None = None) -> NetworkShape:
    train, spec = model.spec, table.spec if table else model.spec
    return network(train.model, train.model_parameters, spec.dataset, spec.dataset_parameters)


def trained(model: ModelPlan, parts: Footprint, processes: int) -> float:
    """Return bytes per training process: weights, gradients, optimiser state, and the activations of all passes."""
    spec, recipe = model.spec, model.spec.recipe
    if spec.file:
        return LOADED * parts.weights
    if predicts(spec):
        draws = min(PREDICTED, int(spec.hyperparameters["draws"]))
        return LOADED * parts.weights + draws * _held(parts, "sampling", spec.precision, model.pixels)
    noises = int(spec.hyperparameters.get("noises", 1))
    batch = recipe.batch_size // (noises if recipe.noise_steps == "smaller" else 1)
    batch = -(-min(batch, model.images) // processes)
    declared = known_datasets().get(spec.dataset)
    classes = (declared.classes if declared else 0) or 10
    passes: float = find("method", spec.method, known_methods()).passes(spec.hyperparameters, classes)
    states = (1 if recipe.momentum else 0) if recipe.optimizer == "sgd" else 2
    # One more while the optimiser steps; frozen networks beside it have no gradients.
    weights = (3 + states + 2 * len(spec.parents)) * parts.weights
    return weights + batch * passes * _held(parts, "training", spec.precision, model.pixels)


def evaluated(table: TablePlan, parts: Footprint) -> float:
    """Return bytes of a task that samples, attacks or verifies; the bounds of a verifier aren't counted."""
    spec, weights = table.spec, LOADED * parts.weights
    if isinstance(spec, CountSpec):
        tile = TILE if spec.tile == "auto" else spec.tile
        networks = 2 if spec.transfer else 1
        precision = "fp32" if spec.transfer else spec.precision
        each = _held(parts, "sampling", precision, table.pixels * (3 if spec.arithmetic == "exact" else 1))
        return networks * weights + tile * each
    if isinstance(spec, AttackSpec):
        rows = max(16, min(ATTACKED, ATTACKED_NUMBERS // max(1, table.pixels)))
        # The levels of a cascade are held together; their networks are taken to be like the last one's.
        return len(spec.needs) * (weights + rows * _held(parts, "training", spec.precision, table.pixels))
    return weights


def _held(parts: Footprint, work: str, precision: str, numbers: int) -> float:
    factor = WORKSPACE if work == "sampling" else SCATTERED
    return factor * parts.of(work, precision) + 4 * NOISE * numbers


def _task(
    keys: list[Key], measured: dict[Key, Throughput], dataset: str, size: int, network: float | None, processes: int,
    program: float,
) -> Memory:  # fmt: skip
    declared = known_datasets().get(dataset)
    held = size / GB if declared and declared.in_memory and size <= HELD_MOST else 0.0
    own = (network or 0.0) / GB
    peak = max((measured[key].memory_gb * MARGIN for key in keys if key in measured), default=0.0)
    total = processes * max(peak, LEAST, program + held + own, held / HELD_SHARE)
    return Memory(round(total, 1), round(processes * own, 2), network is not None)


def memory_text(reckoned: dict[str, Memory]) -> str:
    """Format the largest task of each stage."""
    largest: dict[RunKind, Memory] = {}
    for key, one in reckoned.items():
        kind = RunKind(key.partition("/")[0])
        if kind not in largest or one.total > largest[kind].total:
            largest[kind] = one
    # The bounds of a verifier aren't counted.
    parts = [
        f"{'at least ' if kind is RunKind.VERIFICATIONS else ''}{one.total:g} GB for {kind.stage}"
        for kind, one in largest.items()
    ]
    if not all(one.known for one in reckoned.values()):
        return f"at least {', '.join(parts)} per task, without networks that aren't measured"
    device = [f"{one.network:.1f} GB" for one in largest.values() if one.network >= 0.1]
    on_device = f"; with a GPU, {' and '.join(device)} of it are device memory" if device else ""
    return f"about {', '.join(parts)} per task, by network, batch and images{on_device}"
