"""Checks of a data file against its run: its rows must be those that the run's spec and tasks request."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from rsctl.catalog import known_datasets
from rsctl.certificates import CountTable
from rsctl.certificates.table import AS_NEEDED
from rsctl.config.runs import CountSpec
from rsctl.errors import UserError
from rsctl.store.digest import MISSING, Corrupt
from rsctl.store.extras import extra_columns
from rsctl.store.layout import Run
from rsctl.store.rows import DistanceBounds, Rows
from rsctl.store.run_kinds import RunKind
from rsctl.store.shards import Pending, Shard


def count_table(spec: CountSpec, rows: Rows, dimension: int) -> CountTable:
    """Stored rows as certificates take them."""
    parts: dict[str, Any] = {}
    for name, values in rows.extras.items():
        parts |= extra_columns()[name].table_parts(spec, values)
    return CountTable(
        rows.selection_counts,
        rows.counts,
        rows.n,
        spec.sigma,
        dimension,
        spec.noise,
        AS_NEEDED if spec.needed else spec.stopping,
        label=rows.label,
        selection=spec.selection,
        exponent=spec.exponent,
        arithmetic=spec.arithmetic,
        extras=rows.extras,
        **parts,
    )


def check_shard(run: Run, path: Path, shard: Shard) -> Shard:
    """The shard, if it belongs to this run; raises Corrupt.

    A file with a digest is as its task wrote it. One without, which only runs of an earlier version may have, is compared with
    everything that the run records.
    """
    if run.has_digests and not shard.digest:
        raise Corrupt(MISSING)
    if shard.attributes.get("spec_hash") != run.spec.hash:
        raise Corrupt("it belongs to another run (its spec hash differs)")
    if not shard.attributes.get("model_sha256"):
        raise Corrupt("it doesn't name its checkpoint")
    rows = shard.rows
    if isinstance(rows, Rows) != (run.kind is RunKind.COUNTS):
        raise Corrupt(f"its rows don't belong to a run in '{run.kind}'")
    if isinstance(rows, Rows):
        spec = run.count_spec
        drawn = rows.drawn if spec.needed else np.ones(len(rows), bool)
        if spec.stopping == "fixed" and (rows.n[drawn] != spec.n).any():
            raise Corrupt(f"its images were not sampled with n = {spec.n}")
        if (rows.selection_counts.sum(axis=1) != np.where(drawn, spec.n0, 0)).any():
            raise Corrupt(f"its images were not sampled with n0 = {spec.n0}")
        for name, extra in extra_columns().items() if len(rows) else ():
            if problem := extra.mismatch(spec, rows.extras.get(name)):
                raise Corrupt(problem)
    if not shard.digest:
        check_content(run, path, shard)
    return shard


def check_content(run: Run, path: Path, shard: Shard) -> None:
    """Compare a file that may come from anyone with everything that its run records; raises Corrupt."""
    _check_attributes(run, shard)
    _check_images(run, path, shard)
    if isinstance(shard.rows, Rows):
        _check_counts(run.count_spec, shard, shard.rows)
    if isinstance(shard.rows, DistanceBounds):
        _check_findings(run, shard.rows)


def _check_attributes(run: Run, shard: Shard) -> None:
    """Check the attributes that numbers depend on, or that are shown."""
    attributes = shard.attributes
    sha256, dimension = attributes["model_sha256"], attributes.get("dimension")
    if not _is_sha256(sha256):
        raise Corrupt("the SHA-256 of its checkpoint is malformed")
    known = known_datasets().get(run.table_spec.dataset)
    right = known.channels * known.size**2 if known and known.size and known.inspect is None else dimension
    if type(dimension) is not int or dimension < 1 or dimension != right:
        raise Corrupt(f"its images have dimension {dimension}, unlike those of {run.table_spec.dataset}")
    spec = run.spec
    for name in ("sigma", "noise", "arithmetic", "seed", "n0"):
        if isinstance(spec, CountSpec) and attributes.get(name, getattr(spec, name)) != getattr(spec, name):
            raise Corrupt(f"its {name} is {attributes[name]!r}; the run's is {getattr(spec, name)!r}")
    for function in shard.functions:
        before = function.get("before", [])  # checkpoints of the earlier levels of an attacked cascade
        others = [value for key, value in function.items() if key != "before"]
        if not all(isinstance(value, (str, bool, int, float, dict)) for value in others):
            raise Corrupt("its 'functions' hold values of the wrong type")
        if not isinstance(before, list) or not all(map(_is_sha256, before)):
            raise Corrupt("the SHA-256 of a level's checkpoint in its 'functions' is malformed")


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value))


def _check_images(run: Run, path: Path, shard: Shard) -> None:
    """Check positions and labels."""
    index = shard.rows.index
    compacted = path.parent == run.path
    try:
        wanted = run.assigned_images() if compacted else set(run.images(int(path.name.split(".")[0])))
    except UserError:
        wanted = set(index.tolist())  # the reader of the task reports the problem
    under_way = [image.index for image in shard.pending]
    for image in [*index.tolist(), *map(int, under_way)]:
        if image not in wanted:
            raise Corrupt(f"it holds image {image}, which its task doesn't assign")
    if compacted and (np.diff(index) <= 0).any():
        raise Corrupt("its images are not in ascending order")
    known = known_datasets().get(run.table_spec.dataset)
    classes = known.classes if known and known.inspect is None else None
    wide = shard.rows.counts.shape[1] if isinstance(shard.rows, Rows) else classes
    if classes is not None and len(index) and wide != classes:
        raise Corrupt(f"it has counts of {wide} classes; {run.table_spec.dataset} has {classes}")
    labels = np.array([*shard.rows.label, *(image.label for image in shard.pending)])
    if wide is not None and (labels >= wide).any():
        raise Corrupt(f"label {labels.max()} is not one of {wide} classes")


def _check_counts(spec: CountSpec, shard: Shard, rows: Rows) -> None:
    try:
        count_table(spec, rows, int(shard.attributes["dimension"]))
    except UserError as error:
        raise Corrupt(str(error).removesuffix(".")) from error
    for image in shard.pending:
        _check_pending(spec, image)


def _check_pending(spec: CountSpec, image: Pending) -> None:
    """Raises Corrupt unless the counts of a partly sampled image match its blocks."""
    for counts, blocks, draws in (
        (image.selection_counts, image.selection_blocks, spec.n0),
        (image.counts, image.estimation_blocks, spec.n),
    ):
        if (
            counts.ndim != 1
            or (counts < 0).any()
            or blocks < 0
            or counts.sum() != min(blocks * spec.block, draws)
        ):
            raise Corrupt(f"the counts of image {image.index}, partly sampled, don't match its blocks")
    classes = len(image.counts)
    extras = extra_columns().items()
    if len(image.selection_counts) != classes or not all(
        extra.fits(spec, image.extras.get(name), classes) for name, extra in extras
    ):
        raise Corrupt(f"the counts of image {image.index}, partly sampled, are inconsistent")


def _check_findings(run: Run, rows: DistanceBounds) -> None:
    known = known_datasets().get(run.table_spec.dataset)
    classes = known.classes if known and known.inspect is None else None
    if (rows.predicted < -1).any() or (classes is not None and (rows.predicted >= classes).any()):
        raise Corrupt("a predicted class is not one of the data set's")
    if run.kind is RunKind.ATTACKS and rows.lower.any():
        raise Corrupt("it holds proved radii, but its run is an attack")
