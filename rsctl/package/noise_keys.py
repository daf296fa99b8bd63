"""Checks which runs of a package share noise, weights or counts that they must not share (`rsctl help noise`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from rsctl.config.runs import CountSpec, DrawnSpec
from rsctl.package.consistency import Discrepancy
from rsctl.store.labels import KnownLabels
from rsctl.store.layout import Run
from rsctl.store.rows import Rows
from rsctl.store.run_kinds import RunKind
from rsctl.store.tables import StoredTable, reader_of

_ENOUGH = 10
"""Images with several classes among their draws that two independent tables don't have in common by chance."""


def check_noise(runs: Sequence[Run]) -> tuple[list[Discrepancy], list[str]]:
    """Findings, and remarks that qualify what is shown."""
    drawn = [run for run in runs if run.kind is RunKind.COUNTS and isinstance(run.spec, DrawnSpec)]
    found, remarks = list[Discrepancy](), list[str]()
    chosen = [run for run in drawn if run.count_spec.shares_noise]
    judged = [run for run in drawn if run.count_spec.split == "test" and run.count_spec.estimated]
    for run in chosen:
        spec = run.count_spec
        others = [other.id for other in judged if other.count_spec.noise_key == spec.noise_key]
        if others:
            found.append(
                Discrepancy(
                    f"runs/{run.key}",
                    f"its images of the split '{spec.split}' got the noise of {others[0]} (seed {spec.seed}): what was chosen by the one "
                    "isn't certified by the other.",
                )
            )
        else:
            remarks.append(
                f"{run.id}: its draws have the keys of the test split; certify what it chose with another seed."
            )
    data = {run.count_spec.dataset for run in judged if run.count_spec.keys == "shared"}
    for one, other in combinations(sorted(data), 2):
        seeds = [
            {run.count_spec.seed for run in judged if run.count_spec.dataset == name} for name in (one, other)
        ]
        if seeds[0] & seeds[1]:
            remarks.append(
                f"The test splits of {one} and {other} share noise: neither may choose what the other certifies."
            )
    return [*found, *_copied(drawn)], remarks


def _copied(drawn: Sequence[Run]) -> list[Discrepancy]:
    """Runs that are presented as independent, but hold the same weights or the same counts."""
    labels, found = KnownLabels(), list[Discrepancy]()
    weights: dict[str, Run] = {}
    counts: dict[tuple[str, int], Run] = {}
    for run in drawn:
        table = reader_of(run).read()
        labels.add(table)
        if not len(table.rows) or not isinstance(table.rows, Rows):
            continue
        spec = run.count_spec
        model = weights.setdefault(table.model_sha256, run)
        if model.count_spec.model_hash != spec.model_hash:
            found.append(
                Discrepancy(
                    f"runs/{run.key}",
                    f"is about the weights of {model.count_spec.model_run}, though its model is another one.",
                )
            )
        same = counts.setdefault(_drawn(table.rows), run)
        if same is not run and _enough(table) and _independent(same.count_spec, spec):
            found.append(
                Discrepancy(
                    f"runs/{run.key}",
                    f"has the counts of {same.id} for every image, though {_claim(same.count_spec, spec)}.",
                )
            )
    found += [
        Discrepancy("runs/counts", note.partition(". One of the two")[0] + ".") for note in labels.notes
    ]
    return found


def _drawn(rows: Rows) -> tuple[str, int]:
    import hashlib

    return hashlib.sha256(
        rows.index.tobytes() + rows.counts.tobytes() + rows.selection_counts.tobytes()
    ).hexdigest(), len(rows)


def _enough(table: StoredTable[Rows]) -> bool:
    return int(((table.rows.counts > 0).sum(axis=1) > 1).sum()) >= _ENOUGH


def _independent(one: CountSpec, other: CountSpec) -> bool:
    return one.noise_key != other.noise_key or one.model_hash != other.model_hash


def _claim(one: CountSpec, other: CountSpec) -> str:
    if one.model_hash != other.model_hash:
        return "their models are different ones"
    return f"their noise has different keys (seeds {one.seed} and {other.seed})"
