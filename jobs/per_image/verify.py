"""Proves radii of one shard of images without sampling, and writes the shard file; resumes at the batch."""

from __future__ import annotations

import importlib

from jobs.per_image.findings import Batch, open_run, parameters_of_run, run
from jobs.verifiers import Prover, Verdicts
from rsctl.catalog import find, known_verifiers
from rsctl.config.runs import VerifySpec
from rsctl.store.task_context import TaskContext


def main(work: TaskContext) -> None:
    """Verify this task's images that aren't in yet."""
    spec = work.run.table_spec
    assert isinstance(spec, VerifySpec)
    verifier = find("verifier", spec.verifier, known_verifiers())
    images, model, sha256, device = open_run(work, verifier, spec)
    prover: Prover = importlib.import_module(verifier.module).prepare(
        model.to(device),
        verifier.parameters(**parameters_of_run(work, verifier.parameters, spec.parameters)),
        shape=images.shape,
        norm=spec.norm,
        radii=spec.radii,
        precision=spec.precision,
    )
    function = {"verifier": verifier.name, "revision": verifier.revision, "precision": spec.precision}

    def process(batch: Batch) -> Verdicts:
        return prover.verify(batch.images, batch.labels)

    run(work, images, sha256, function, prover.batch, device, process)
