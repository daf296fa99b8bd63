"""Certifies one shard: draws, counts, and writes the shard file; resumes at the block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from jobs.certify.blocks import ImageCounts
from jobs.certify.noisy_inputs import NoisyInputs
from jobs.certify.recorders import Sampling, recorders_of
from jobs.certify.sampler import Sampler
from jobs.certify.tiles import SECONDS, samples_per_second, tile_of
from jobs.data import Images
from jobs.device import to_device
from jobs.memory import sized_by
from jobs.models.load import Executed, load_trained, to_sample
from jobs.precision import configure, device_name
from jobs.shard import ShardWriter, load_images
from rsctl.certificates import find_certificate
from rsctl.store.checks import check_shard, count_table
from rsctl.store.extras import measured
from rsctl.store.needed import settled_images
from rsctl.store.shards import Corrupt, Pending, Rows, Shard, encode_shard, read_shard
from rsctl.store.tables import shard_files
from rsctl.store.task_context import Stopped, TaskContext


def main(work: TaskContext) -> None:
    """Count this task's images that aren't in yet; compact the run when it was the last."""
    spec = work.run.count_spec
    device = configure(spec.precision, int(work.launch["threads"]))
    images = load_images(work)

    def rate(tile: int) -> float:
        network, _ = _network(work, images, spec.precision, "off", tile, device)
        x = torch.zeros((16, images.shape.channels, images.shape.size, images.shape.size), device=device)
        return samples_per_second(
            network, x, images.shape.classes, spec.sigma, tile, spec.block, device, SECONDS
        )

    advice = "Take a smaller one (its counts are a table of their own), or a device with more memory."
    with sized_by("certification.tile", spec.tile, advice):
        tile = tile_of(work.run, spec, device, rate)
    with sized_by("certification.tile", tile, advice):
        _count(work, images, tile, device)


def _network(
    work: TaskContext, images: Images, precision: str, compile_mode: str, tile: int, device: torch.device
) -> tuple[Executed, str]:
    """The run's network as executed, and the SHA-256 of its file. Read anew: lowering the precision changes weights in place."""
    spec = work.run.count_spec
    file = work.run.store.model(spec.model_run).model_file
    model, sha256 = load_trained(file, spec.model_hash, images.shape)
    return to_sample(model, precision, compile_mode, tile, images.shape, device), sha256


def _count(work: TaskContext, images: Images, tile: int, device: torch.device) -> None:
    spec = work.run.count_spec
    executed, sha256 = _network(work, images, spec.precision, spec.compile, tile, device)
    recorders = recorders_of(
        Sampling(
            spec,
            images.shape.dimension,
            lambda precision: _network(work, images, precision, spec.compile, tile, device)[0],
        )
    )
    inputs = NoisyInputs(
        spec.sigma, spec.noise_key, spec.n, device, spec.noise, spec.exponent, spec.arithmetic
    )
    sampler = Sampler(
        executed, images.shape.classes, inputs, n0=spec.n0, tile=tile, block=spec.block, clean_selection=spec.selection == "clean",
        recorders=recorders,
    )  # fmt: skip
    function = executed.described(device, tile, spec.block)
    for recorder in recorders:
        function |= recorder.described(device, tile, spec.block)
    shard = CountWriter(work, images, sha256, sampler, function)
    todo = shard.begin()
    shard.take_over()
    settled = settled_images(work.run, images.positions.tolist())
    for row in todo:
        if (position := int(images.positions[row])) in settled:
            _, label = images.batch(torch.tensor([row]))
            shard.leave_out(position, int(label))
    todo = [row for row in todo if int(images.positions[row]) not in settled]
    for touched in sampler.run(start(images, todo, shard, device)):
        for image in touched:
            if image.done:
                shard.finish(image)
        partly = sum(sum(i.blocks) for i in shard.under_way.values()) / sum(sampler.per_phase)
        stopping = shard.reached(partly, draws=sampler.drawn, device=device_name(device))
        if stopping:
            raise Stopped(stopping)
    shard.end(draws=sampler.drawn, device=device_name(device))


def start(images: Images, rows: list[int], shard: CountWriter, device: torch.device) -> Iterator[ImageCounts]:
    """Images in the order of the task, each with what an earlier attempt has counted of it."""
    classes = images.shape.classes
    for row in rows:
        pixels, label = images.batch(torch.tensor([row]))
        position = int(images.positions[row])
        shown = to_device(pixels[0], device).float() / 255
        image = ImageCounts(position, int(label), shown, torch.zeros(2, classes, dtype=torch.int64))
        before = shard.partial.pop(position, None)
        if before is not None:
            image.counts = torch.from_numpy(
                np.stack([before.selection_counts, before.counts]).astype(np.int64)
            )
            image.blocks = [int(before.selection_blocks), int(before.estimation_blocks)]
            image.kept = {
                recorder.name: recorder.resume(image, before.extras[recorder.name])
                for recorder in shard.recorders
            }
            image.seconds = float(before.seconds)
        shard.under_way[position] = image
        yield image


class CountWriter(ShardWriter):
    """This attempt's shard file, and what earlier attempts left."""

    def __init__(
        self,
        work: TaskContext,
        images: Images,
        model_sha256: str,
        sampler: Sampler,
        function: dict[str, object],
    ) -> None:
        spec = work.run.count_spec
        super().__init__(
            work,
            images,
            model_sha256,
            sigma=spec.sigma,
            noise=spec.noise,
            arithmetic=spec.arithmetic,
            seed=spec.seed,
            n0=spec.n0,
        )
        self.function, self.classes = function, images.shape.classes
        self.recorders = sampler.recorders
        self.rows: list[ImageCounts] = []
        self.under_way: dict[int, ImageCounts] = {}
        self.partial: dict[int, Pending] = {}
        """Counts of earlier attempts, under the very same function, for images that they didn't finish."""

    def take_over(self) -> None:
        """Takes over the partial counts of earlier attempts for images that aren't finished.

        Those of another function are dropped, for half an image counted by each would be a certificate
        of neither.
        """
        for path in shard_files(self.work.run, self.work.task):
            try:
                shard = check_shard(self.work.run, path, read_shard(path))
            except (Corrupt, FileNotFoundError):
                continue
            same = [number for number, function in enumerate(shard.functions) if function == self.function]
            self.partial |= {
                int(p.index): p
                for p in shard.pending
                if p.fingerprint in same and int(p.index) not in self.finished and self._fits(p)
            }

    def _fits(self, image: Pending) -> bool:
        """True where an image has the measurements of this run."""
        spec = self.work.run.count_spec
        return all(extra.fits(spec, image.extras.get(extra.name), self.classes) for extra in measured(spec))

    def leave_out(self, position: int, label: int) -> None:
        """Keep a row without draws for an image that earlier levels of a cascade settle."""
        self.rows.append(
            ImageCounts(
                position, label, torch.empty(0), torch.zeros(2, self.classes, dtype=torch.int64), done=True
            )
        )
        self.done += 1

    def finish(self, image: ImageCounts) -> None:
        """Keep an image's counts; its pixels and what recorders kept go, so that memory doesn't grow with the number of images."""
        image.measured = {
            recorder.name: recorder.finish(image.kept[recorder.name]) for recorder in self.recorders
        }
        image.pixels, image.kept = torch.empty(0), {}
        self.rows.append(image)
        self.done += 1
        del self.under_way[image.position]

    def encoded(self) -> bytes:
        """Finished images with their radii, images under way with their counts so far."""
        rows = self._rows()
        launch = self.work.launch
        alpha = float(launch["alpha"])
        certified = {}
        if len(rows):
            table = count_table(self.work.run.count_spec, rows, self.dimension)
            certified = {
                name: find_certificate(name).certify(table, alpha) for name in launch["certificates"]
            }
        under_way = [image for image in self.under_way.values() if any(image.blocks)]
        pending = [
            Pending(
                image.position, image.label, image.counts[0].numpy().astype(np.int32), image.counts[1].numpy().astype(np.int32),
                image.blocks[0], image.blocks[1], image.seconds, 0,
                {recorder.name: recorder.under_way(image.kept[recorder.name]) for recorder in self.recorders},
            )
            for image in under_way
        ]  # fmt: skip
        pending += list(self.partial.values())
        return encode_shard(Shard(rows, self.attributes, [self.function], pending), certified, alpha)

    def _rows(self) -> Rows:
        if not self.rows:
            return Rows.empty(self.classes)
        counts = np.stack([image.counts.numpy() for image in self.rows]).astype(np.int32)
        return Rows(
            index=np.array([image.position for image in self.rows], np.int64),
            label=np.array([image.label for image in self.rows], np.int32),
            selection_counts=counts[:, 0],
            counts=counts[:, 1],
            n=counts[:, 1].sum(axis=1).astype(np.int64),
            seconds=np.array([image.seconds for image in self.rows]),
            fingerprint=np.zeros(len(self.rows), np.int32),
            extras={
                extra.name: {
                    **extra.shared_values(self.work.run.count_spec, self.dimension),
                    **{
                        name: np.stack([image.measured[extra.name][name] for image in self.rows]).astype(
                            place.kind
                        )
                        for name, place in extra.columns.items()
                    },
                }
                for extra in measured(self.work.run.count_spec)
            },
        )
