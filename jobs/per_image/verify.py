"""Proves radii of one shard of images without sampling, and writes the shard file; resumes at the batch."""

from __future__ import annotations

import importlib

import torch

from jobs.per_image.findings import Batch, BatchFindings, open_run, parameters_of_run, run
from jobs.precision import device_name
from jobs.verifiers import Prover
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

    def process(batch: Batch) -> BatchFindings:
        found = prover.verify(batch.images, batch.labels)
        return BatchFindings(found.predicted, found.radius, found.broken, found.counterexample)

    function = {
        "verifier": verifier.name,
        "revision": verifier.revision,
        "precision": spec.precision,
        "device": device_name(device),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }
    run(work, images, sha256, function, prover.batch, device, process)
