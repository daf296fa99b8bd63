"""Searches for adversarial images of one shard of images, and writes the shard file; resumes at the batch."""

from __future__ import annotations

import torch

from jobs.attacks.search import AttackSearch, Before
from jobs.data import Images
from jobs.models.load import Executed, load_trained
from jobs.per_image.findings import Batch, open_run, parameters_of_run, run
from jobs.verifiers import Verdicts
from rsctl.catalog import find, known_attacks
from rsctl.config.runs import AttackSpec, LevelBefore
from rsctl.store.task_context import TaskContext


def main(work: TaskContext) -> None:
    """Attack this task's images that aren't in yet."""
    spec = work.run.table_spec
    assert isinstance(spec, AttackSpec)
    attack = find("attack", spec.attack, known_attacks())
    images, model, sha256, device = open_run(work, attack, spec)
    executed = Executed(model, spec.precision).to(device).eval()
    shape = (images.shape.channels, images.shape.size, images.shape.size)
    levels = [_before(work, level, images, spec.precision, device) for level in spec.before]
    search = AttackSearch(
        attack.module, parameters_of_run(work, attack.parameters, spec.parameters), executed, images.shape.classes, shape, norm=spec.norm,
        sigma=spec.sigma, noises=spec.noises, n=spec.n, alpha=spec.alpha, key=spec.noise_key, device=device,
        before=[level for level, _ in levels],
    )  # fmt: skip

    def process(batch: Batch) -> Verdicts:
        found = search(batch.images, batch.labels, batch.positions, batch.count)
        predicted = found.predicted
        if spec.target != "base":
            # Votes name a class, but what is confirmed is only whether it is the label.
            predicted = torch.where(found.distance > 0, batch.labels, -1)
        return Verdicts(predicted, torch.zeros_like(found.distance), found.distance, found.image)

    function = {
        "attack": attack.name,
        "revision": attack.revision,
        "target": spec.target,
        "precision": spec.precision,
        "folded": executed.folded,
        **({"before": [digest for _, digest in levels]} if levels else {}),
    }
    run(work, images, sha256, function, search.batch, device, process)


def _before(
    work: TaskContext, level: LevelBefore, images: Images, precision: str, device: torch.device
) -> tuple[Before, str]:
    """A level of a cascade before its last, and the SHA-256 of its model's file."""
    model, sha256 = load_trained(work.run.store.model(level.run).model_file, level.hash, images.shape)
    return Before(Executed(model, precision).to(device).eval(), level.sigma, level.tau), sha256
