"""One run or imported log, image by image, for comparisons, figures and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.certificates import Certified, find_certificate
from rsctl.config.permutation import chosen_by, images_of
from rsctl.config.runs import CountSpec, TrainSpec
from rsctl.errors import InputError
from rsctl.report.logged import NoCountsError, reading
from rsctl.report.proved import as_certified as as_proved
from rsctl.report.proved import proved_guarantee, verify_spec
from rsctl.report.rows import certify_run
from rsctl.store.degenerate import Verdict, judge, of_folder
from rsctl.store.imports import Import, ShownImport, imports, shown_record
from rsctl.store.layout import Run, Store
from rsctl.store.rows import Rows
from rsctl.store.tables import R, StoredTable, read_findings, read_table
from rsctl.store.tally import tally, verdict
from rsctl.text import counted


@dataclass(frozen=True, eq=False)
class Subject:
    """The finished images of one run under one certificate; arrays of shape (N,), ascending in `index`."""

    run: str
    method: str
    dataset: str
    split: str
    model: str
    sigma: float
    noise: str
    seed: int | None
    n: int | None
    n0: int | None
    alpha: float | None
    certificate: str
    guarantee: str
    norm: str
    index: NDArray[np.int64]
    label: NDArray[np.int32]
    seconds: NDArray[np.float64]
    certified: Certified
    planned: int
    """Images requested so far; for a log those it holds."""
    files: str = ""
    """Fingerprint of the files of its images; empty where the data set's name identifies them, and for a log."""
    train: TrainSpec | None = None
    count: CountSpec | None = None
    table: StoredTable[Rows] | None = None
    """The counts; None for a log or a verifier."""
    logged: ShownImport | None = None
    """The log, for an import."""

    degenerate: Verdict | None = None
    """The verdict that the network learned nothing."""
    problems: Sequence[str] = ()
    """Files of the run that couldn't be used; their images are missing."""

    @cached_property
    def score(self) -> NDArray[np.float64]:
        """(N,) float64: the radius where the prediction is right, -1 elsewhere: certified at r where it is ≥ r."""
        return np.where(self.certified.predicted == self.label, self.certified.radius, -1.0)

    @property
    def trained_sigma(self) -> float | None:
        """Noise level of the training; the certificate's where a log's path states no other."""
        if self.train is not None:
            return self.train.sigma
        return self.sigma if self.logged is None else self.logged.log.spec.trained_sigma or self.sigma

    @property
    def progress(self) -> str:
        """Progress of an incomplete run; empty for a complete one."""
        return (
            ""
            if len(self.index) >= self.planned
            else f"{len(self.index)} of {counted(self.planned, 'image')} finished"
        )


def open_subject(
    store: Store, name: str, certificate: str | None = None, alpha: float | None = None
) -> Subject:
    """A certification run or an imported log, by its id, its path, or a unique beginning of its id.

    Certificate and alpha default to those of the last submission. Raises InputError where the name fits none
    or several, or where a log should be certified anew.
    """
    path = Path(name)
    if path.parent.name == "imports" and (path / "spec.json").is_file():
        return of_import(Import(path.resolve()), certificate, alpha)
    if not (path / "spec.json").is_file():
        found = [one for one in imports(store) if one.id == name] or [
            one for one in imports(store) if one.id.startswith(name)
        ]
        runs = [run for run in store.runs("counts") if run.id.startswith(name)]
        if len(found) == 1 and not runs:
            return of_import(found[0], certificate, alpha)
        if found:
            several = ", ".join([one.id for one in found][:6] + [run.id for run in runs][:6])
            raise InputError(f"run '{name}' is ambiguous: {several}. Give a longer beginning of its id.")
        if len(runs) == 1:
            return of_run(runs[0], certificate, alpha)
    run = store.find_run(name)
    if run.kind == "verifications":
        return of_verification(run, certificate, alpha)
    if run.kind == "models":
        tables = [counts for counts in run.store.runs("counts") if counts.count_spec.model_run == run.id]
        if len(tables) != 1:
            raise InputError(
                f"{run.id} is a model with {len(tables)} certification runs{': ' if tables else ''}"
                f"{', '.join(table.id for table in tables[:6])}. Name one of them."
            )
        run = tables[0]
    return of_run(run, certificate, alpha)


def _of_the_chosen(
    run: Run, table: StoredTable[R], chosen: Mapping[str, Any] | None
) -> tuple[StoredTable[R], int]:
    """The finished images among those that a sweep requests, or among all, and the number requested."""
    if chosen is None:
        return table, len(run.assigned_images())
    spec = run.table_spec
    wanted = images_of(*chosen_by(chosen, spec.holdout, spec.seed))
    return table.restrict(wanted), len(wanted)


def of_run(
    run: Run,
    certificate: str | None = None,
    alpha: float | None = None,
    chosen: Mapping[str, Any] | None = None,
) -> Subject:
    """The finished images of a certification run; of the `chosen` images of a sweep, or of all."""
    if alpha is not None and not 0 < alpha < 1:
        raise InputError(f"alpha: must be inside (0, 1), but it is {alpha}.")
    launch = run.launch()
    certificate, alpha = certificate or str(launch["certificates"][0]), alpha or float(launch["alpha"])
    count = run.count_spec
    train = run.store.run("models", count.model_run).train_spec
    table, planned = _of_the_chosen(run, read_table(run), chosen)
    rule = find_certificate(certificate)
    return Subject(
        run=run.id, method=train.method, dataset=train.dataset, split=count.split, model=train.model, sigma=count.sigma,
        noise=count.noise, seed=train.seed, n=count.n, n0=count.n0, alpha=alpha, certificate=certificate,
        guarantee=rule.guarantee.label(alpha, count.arithmetic), norm=rule.norm, index=table.rows.index, label=table.rows.label,
        seconds=table.rows.seconds, certified=certify_run(run, table, certificate, alpha),
        planned=planned, files=count.data,
        train=train, count=count, table=table, problems=table.problems, degenerate=verdict(table.rows) or of_folder(run.store.run("models", count.model_run).path),
    )  # fmt: skip


def of_verification(
    run: Run,
    certificate: str | None = None,
    alpha: float | None = None,
    chosen: Mapping[str, Any] | None = None,
) -> Subject:
    """Proofs of a verifier about a model, on the `chosen` images of a sweep or on all; no other radii can be derived."""
    spec = verify_spec(run)
    if certificate not in (None, spec.verifier) or alpha is not None:
        raise InputError(
            f"{run.id}: holds proofs of '{spec.verifier}', without alpha or counts: no other radii can be derived."
        )
    train = run.store.run("models", spec.model_run).train_spec
    table, planned = _of_the_chosen(run, read_findings(run), chosen)
    rows = table.rows
    return Subject(
        run=run.id, method=train.method, dataset=train.dataset, split=spec.split, model=train.model, sigma=train.sigma,
        noise="none", seed=train.seed, n=None, n0=None, alpha=None, certificate=spec.verifier, guarantee=proved_guarantee(spec),
        norm=spec.norm, index=rows.index, label=rows.label, seconds=rows.seconds, certified=as_proved(rows),
        planned=planned, files=spec.data, train=train, problems=table.problems, degenerate=verdict(rows) or of_folder(run.store.run("models", spec.model_run).path),
    )  # fmt: skip


def of_import(log: Import, certificate: str | None = None, alpha: float | None = None) -> Subject:
    """An imported log; other radii can be derived where it holds counts."""
    spec, radii = log.spec, log.radii
    said = shown_record(log) or ShownImport(log, None, None, None, "", [])
    try:
        found = reading(said, certificate, alpha)
    except NoCountsError:
        raise InputError(
            f"{log.id}: is an imported log of '{spec.certificate}' at alpha = {said.alpha}, without counts: no other radii can be derived."
        ) from None
    return Subject(
        run=log.id, method=spec.method, dataset=spec.dataset, split=spec.split, model=spec.model, sigma=spec.sigma,
        noise=spec.noise, seed=spec.seed, n=said.n, n0=said.n0, alpha=found.alpha, certificate=found.certificate,
        guarantee=found.guarantee, norm=found.norm, index=radii.index, label=radii.label,
        seconds=radii.seconds, certified=found.certified, planned=len(radii), logged=said,
        degenerate=judge(tally(radii.label, radii.predicted), training=False),
    )  # fmt: skip
