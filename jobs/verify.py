"""Proves radii of one shard of images without sampling, and writes the shard file; resumes at the batch."""

from __future__ import annotations

import importlib

import torch

from jobs.findings import Batch, Outcome, load_images, parameters_of_run, run
from jobs.models.load import load_trained
from jobs.precision import configure, device_name
from jobs.verifiers import Prover
from rsctl.catalog import find, known_verifiers
from rsctl.errors import RefusedError
from rsctl.spec.runs import VerifySpec
from rsctl.store.work import Work


def main(work: Work) -> None:
    """Verify this task's images that aren't in yet."""
    spec = work.run.table_spec
    assert isinstance(spec, VerifySpec)
    device = configure(spec.precision, int(work.launch["threads"]))
    images = load_images(work)
    model_file = work.run.store.run("models", spec.model_run).model_file
    model, sha256 = load_trained(model_file, spec.model_hash, images.shape)
    verifier = find("verifier", spec.verifier, known_verifiers())
    if verifier.revision != spec.revision:
        raise RefusedError(
            f"{work.run.path}: was planned with revision {spec.revision} of {spec.verifier}, and the code has {verifier.revision}. "
            "Submit the sweep again: it becomes a run of its own."
        )
    prover: Prover = importlib.import_module(verifier.module).prepare(
        model.to(device),
        verifier.parameters(**parameters_of_run(work, verifier.parameters, spec.parameters)),
        shape=images.shape,
        norm=spec.norm,
        radii=spec.radii,
        precision=spec.precision,
    )

    def look(batch: Batch) -> Outcome:
        found = prover.verify(batch.images, batch.labels)
        return Outcome(found.predicted, found.radius, found.broken, found.counterexample)

    function = {
        "verifier": verifier.name,
        "revision": verifier.revision,
        "precision": spec.precision,
        "device": device_name(device),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }
    run(work, images, sha256, function, prover.batch, device, look)
