"""Certifies one shard: draws, counts, and writes the shard file; resumes at the block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.certify.sampler import ImageCounts, Sampler
from jobs.certify.sums import empty_sums, products
from jobs.certify.tiles import SECONDS, samples_per_second, tile_of
from jobs.data import Images
from jobs.device import to_device
from jobs.memory import sized_by
from jobs.models.load import Executed, load_trained, to_sample
from jobs.precision import configure, device_name
from jobs.shard import ShardWriter, load_images
from rsctl.certificates import Halves, Looks, Shells, find_certificate
from rsctl.certificates.exact_noise import level_left
from rsctl.certificates.stopping import Rule, make_rule
from rsctl.config.runs import CountSpec
from rsctl.store.checks import check_shard, count_table
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
    reference = None
    if spec.transfer:
        reference, _ = _network(work, images, "fp32", spec.compile, tile, device)
    sampler = Sampler(
        executed, images.shape.classes, sigma=spec.sigma, key=spec.noise_key,
        n0=spec.n0, n=spec.n, tile=tile, block=spec.block, device=device, rule=stopping_rule(spec, images.shape.dimension),
        noise=spec.noise, exponent=spec.exponent, arithmetic=spec.arithmetic, clean_selection=spec.selection == "clean", shell_edges=spec.shell_edges,
        gradient=spec.gradient, reference=reference, transfer=spec.transfer,
    )  # fmt: skip
    function = executed.described(device, tile, spec.block)
    if reference is not None:
        function["reference"] = reference.described(device, tile, spec.block)
    shard = CountWriter(work, images, sha256, sampler, function)
    todo = shard.begin()
    shard.take_over()
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
            taken = [look for look in before.looks if look.any()]
            if before.shells.size:
                image.shells = torch.from_numpy(before.shells.astype(np.int64))
            if before.sums.size:
                image.sums = to_device(torch.from_numpy(before.sums.astype(np.int64)), device)
                image.others = [int(other) for other in before.others]
            if before.disagreements.size:
                image.compared = int(before.compared)
                image.disagreements = torch.from_numpy(before.disagreements.astype(np.int64))
            image.looks = [torch.from_numpy(look.astype(np.int64)) for look in taken]
            image.seconds = float(before.seconds)
        shard.under_way[position] = image
        yield image


def stopping_rule(spec: CountSpec, dimension: int) -> Rule | None:
    """The rule of a sequential table of inputs with d coordinates, None for a fixed n."""
    alpha = spec.stop_alpha
    if alpha and spec.arithmetic == "exact":
        # What the certificate will have left to spend.
        alpha = level_left(alpha, spec.sigma, dimension, spec.n0 + spec.n)
    return make_rule(
        spec.stopping, radii=spec.stop_radii, delta=spec.stop_delta, sigma=spec.sigma, alpha=alpha, n=spec.n, block=spec.block,
    )  # fmt: skip


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
        self.edges = tuple(spec.shell_edges)
        self.look_draws = sampler.rule.draws if sampler.rule else np.empty(0, np.int64)
        self.rows: list[ImageCounts] = []
        self.products: list[NDArray[np.float64]] = []
        """Of the sums of each row, where the noise is summed up."""
        self.under_way: dict[int, ImageCounts] = {}
        self.partial: dict[int, Pending] = {}
        """What earlier attempts counted of images they didn't finish, under the very same function."""

    def take_over(self) -> None:
        """What earlier attempts had under way, of images that aren't in.

        Partial counts made by another function are dropped, for half an image counted by each would be a certificate
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
                if p.fingerprint in same and int(p.index) not in self.finished
            }

    def finish(self, image: ImageCounts) -> None:
        """Keep an image's counts; its pixels and sums go, so that memory doesn't grow with the number of images."""
        if self.work.run.count_spec.gradient:
            self.products.append(products(self._sums(image)))
        image.pixels, image.sums = torch.empty(0), None
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
                image.blocks[0], image.blocks[1], image.seconds, 0, self._looks(image), self._shells(image),
                self._sums(image).cpu().numpy(), np.array(image.others, np.int64), image.compared, self._disagreements(image),
            )
            for image in under_way
        ]  # fmt: skip
        pending += list(self.partial.values())
        return encode_shard(Shard(rows, self.attributes, [self.function], pending), certified, alpha)

    def _looks(self, image: ImageCounts) -> NDArray[np.int32]:
        """(K, C) of a sequential table, zeros at looks that were not taken; (0, C) of a fixed n."""
        looks = np.zeros((len(self.look_draws), self.classes), np.int32)
        for place, counts in enumerate(image.looks[: len(looks)]):
            looks[place] = counts.numpy()
        return looks

    def _shells(self, image: ImageCounts) -> NDArray[np.int32]:
        """(S, C) where noise norms are kept apart, else (0, C)."""
        empty = np.zeros((len(self.edges) + 1 if self.edges else 0, self.classes), np.int32)
        return empty if image.shells is None else image.shells.numpy().astype(np.int32)

    def _sums(self, image: ImageCounts) -> Tensor:
        """(2, d) where the noise is summed up, else (2, 0)."""
        if image.sums is not None:
            return image.sums
        return empty_sums(self.dimension if self.work.run.count_spec.gradient else 0, torch.device("cpu"))

    def _disagreements(self, image: ImageCounts) -> NDArray[np.int32]:
        """(C,) where another network is compared, else (0,)."""
        so_far = torch.zeros(self.classes if self.work.run.count_spec.transfer else 0)
        return (so_far if image.disagreements is None else image.disagreements).numpy().astype(np.int32)

    def _halves(self) -> Halves | None:
        spec = self.work.run.count_spec
        if not spec.gradient:
            return None
        return Halves(
            spec.halves,
            np.array([image.others for image in self.rows], np.int32),
            np.stack(self.products),
        )

    def _rows(self) -> Rows:
        if not self.rows:
            return Rows.empty(self.classes)
        counts = np.stack([image.counts.numpy() for image in self.rows]).astype(np.int32)
        compared = [image.disagreements.numpy() for image in self.rows if image.disagreements is not None]
        return Rows(
            index=np.array([image.position for image in self.rows], np.int64),
            label=np.array([image.label for image in self.rows], np.int32),
            selection_counts=counts[:, 0],
            counts=counts[:, 1],
            n=counts[:, 1].sum(axis=1).astype(np.int64),
            seconds=np.array([image.seconds for image in self.rows]),
            fingerprint=np.zeros(len(self.rows), np.int32),
            looks=Looks(self.look_draws, np.stack([self._looks(image) for image in self.rows]))
            if len(self.look_draws)
            else None,
            shells=Shells(self.edges, np.stack([self._shells(image) for image in self.rows]))
            if self.edges
            else None,
            disagreements=np.stack(compared).astype(np.int32) if compared else None,
            halves=self._halves(),
        )
