"""Searches for adversarial images of one shard of images, and writes the shard file; resumes at the batch."""

from __future__ import annotations

import torch

from jobs.attacks.search import Search
from jobs.findings import Batch, Outcome, load_images, parameters_of_run, run
from jobs.models.load import Executed, load_trained
from jobs.precision import configure, device_name
from rsctl.catalog import find, known_attacks
from rsctl.errors import RefusedError
from rsctl.spec.runs import AttackSpec
from rsctl.store.work import Work


def main(work: Work) -> None:
    """Attack this task's images that aren't in yet."""
    spec = work.run.table_spec
    assert isinstance(spec, AttackSpec)
    device = configure(spec.precision, int(work.launch["threads"]))
    images = load_images(work)
    model_file = work.run.store.run("models", spec.model_run).model_file
    model, sha256 = load_trained(model_file, spec.model_hash, images.shape)
    attack = find("attack", spec.attack, known_attacks())
    if attack.revision != spec.revision:
        raise RefusedError(
            f"{work.run.path}: was planned with revision {spec.revision} of {spec.attack}, and the code has {attack.revision}. "
            "Submit the sweep again: it becomes a run of its own."
        )
    executed = Executed(model, spec.precision).to(device).eval()
    shape = (images.shape.channels, images.shape.size, images.shape.size)
    search = Search(
        attack.module, parameters_of_run(work, attack.parameters, spec.parameters), executed, images.shape.classes, shape, norm=spec.norm,
        sigma=spec.sigma, noises=spec.noises, n=spec.n, alpha=spec.alpha, seed=spec.seed, device=device,
    )  # fmt: skip

    def look(batch: Batch) -> Outcome:
        # The search fills its batches up itself, with images whose random numbers are their own.
        count = len(batch.positions)
        found = search(batch.images[:count], batch.labels[:count], batch.positions)
        predicted = found.predicted
        if spec.target == "smoothed":
            # Votes name a class, but what is confirmed is only whether it is the label.
            predicted = torch.where(found.distance > 0, batch.labels[:count], -1)
        return Outcome(predicted, torch.zeros_like(found.distance), found.distance, found.image)

    function = {
        "attack": attack.name,
        "revision": attack.revision,
        "target": spec.target,
        "precision": spec.precision,
        "folded": executed.folded,
        "device": device_name(device),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }
    run(work, images, sha256, function, search.batch, device, look)
