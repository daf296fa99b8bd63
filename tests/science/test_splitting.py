"""Deterministic ℓ1 radii: what f sees, how many positions tell two images apart, and every image within a radius."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from chain import Chain, StopsAfter, tiny
from samplers import sampler_of

from jobs.certify.sampler import ImageCounts
from jobs.noise.splitting import offsets, split
from jobs.state import TrainingState
from rsctl.catalog.pixels import splitting_width
from rsctl.certificates import CountTable, find_certificate
from rsctl.errors import InputError, RefusedError
from rsctl.results.clean import clean_accuracy
from rsctl.store.tables import read_table
from rsctl.store.task_context import Stopped

CPU = torch.device("cpu")
RULE = find_certificate("splitting-l1")


def sigma_of(width: int) -> float:
    sigma = width / (2 * math.sqrt(3) * 255)
    assert splitting_width(sigma) == width
    return sigma


@pytest.mark.parametrize("width", [1, 2, 7, 221, 254, 255, 256, 600])
def test_f_sees_the_middle_of_the_interval(width: int) -> None:
    """The paper's formula in fractions, s half a pixel value above each position, for every pixel value."""
    (offset,) = offsets(width, (1, 1, 1), CPU).flatten().tolist()
    positions = torch.arange(width)
    for level in range(0, 256, 1 if width < 10 else 17):
        seen = split(torch.tensor([[[level]]]), positions, width).flatten().tolist()
        for position, value in zip(positions.tolist(), seen, strict=True):
            cut = Fraction(2 * ((position + offset) % width) + 1, 510)
            x, length = Fraction(level, 255), Fraction(width, 255)
            above = length * math.ceil((x - cut) / length) + cut
            middle = (min(above, Fraction(1)) + max(above - length, Fraction(0))) / 2
            assert value == float(np.float32(middle))


@pytest.mark.parametrize("width", [1, 7, 221, 600])
def test_as_many_positions_tell_two_pixel_values_apart_as_lie_between_them(width: int) -> None:
    levels = torch.arange(256)
    seen = torch.stack([split(levels.view(256, 1, 1), torch.tensor([p]), width)[0] for p in range(width)])
    # The offsets of 256 channels differ; what counts is how many positions separate a channel's value from its neighbour's.
    for first, second in ((3, 4), (3, 9), (0, 255), (100, 140)):
        pair = torch.tensor([first, second]).view(2, 1, 1, 1)
        values = torch.stack([split(pair, torch.tensor([p, p]), width).flatten() for p in range(width)])
        apart = int((values[:, 0] != values[:, 1]).sum())
        assert apart <= second - first
        assert apart == min(second - first, width)
    assert seen.min() >= 0
    assert seen.max() <= 1


def table(counts: list[int], n: int) -> CountTable:
    return CountTable(
        np.zeros((1, len(counts)), np.int64), np.array([counts]), np.array([n]), sigma_of(n), 2, noise="splitting"
    )  # fmt: skip


def test_no_image_within_the_radius_is_classified_otherwise() -> None:
    """300 arbitrary classifiers of two pixels, every one of 14 × 14 images, every image around it."""
    width, levels, reached = 9, 14, 0
    images = torch.tensor(list(itertools.product(range(levels), repeat=2))).view(-1, 1, 1, 2)
    seen = torch.stack([split(images[i, :, :, :], torch.arange(width), width) for i in range(len(images))])
    codes = np.unique(
        (seen * 1020).round().long().numpy().reshape(len(images), width, 2) @ [2000, 1], return_inverse=True
    )[1]
    codes = codes.reshape(len(images), width)
    distance = (images.flatten(1)[:, None] - images.flatten(1)[None]).abs().sum(dim=2).numpy()
    rng = np.random.default_rng(0)
    for number in range(300):
        share = (0.97, 0.9, 0.7)[number % 3]
        classes = np.where(
            rng.random(codes.max() + 1) < share, number % 3, rng.integers(3, size=codes.max() + 1)
        )
        counts = np.stack([(classes[codes] == c).sum(axis=1) for c in range(3)], axis=1)
        many = CountTable(
            np.zeros_like(counts), counts, np.full(len(counts), width), sigma_of(width), 2, noise="splitting"
        )
        certified = RULE.certify(many, 0.001)
        moves = np.rint(certified.radius * 255).astype(int)
        within = distance <= moves[:, None]
        # g is the class of most positions; in a tie it may be either, so that none may come within a radius.
        leads = np.sort(counts, axis=1)
        unique = leads[:, -1] > leads[:, -2]
        same = (counts.argmax(axis=1)[None, :] == certified.predicted[:, None]) & unique[None, :]
        claimed = certified.predicted >= 0
        assert (same | ~within)[claimed].all()
        reached += int((claimed & (moves > 0)).sum())
        # Not loose without need: the class does change, or is tied, one step beyond some of the radii.
    assert reached > 1000


@pytest.mark.parametrize(
    ("counts", "n", "class_", "moves"),
    [
        ([9, 0, 0], 9, 0, 4), ([0, 9, 0], 9, 1, 4), ([5, 4, 0], 9, 0, 0), ([6, 3, 0], 9, 0, 1), ([5, 3, 1], 9, 0, 0),
        ([6, 2, 1], 9, 0, 1), ([7, 1, 1], 9, 0, 2), ([10, 0], 10, 0, 4), ([5, 5], 10, -1, 0), ([4, 4, 1], 9, -1, 0),
    ],
)  # fmt: skip
def test_radii_by_hand(counts: list[int], n: int, class_: int, moves: int) -> None:
    certified = RULE.certify(table(counts, n), 0.001)
    assert certified.predicted[0] == class_
    assert certified.radius[0] == moves / 255
    assert not certified.at_cap[0]
    assert (RULE.certify(table(counts, n), 0.5).radius == certified.radius).all()


def test_clean_accuracy_needs_no_test_where_everything_is_counted() -> None:
    for counts, right in (([112, 109], 1.0), ([109, 112], 0.0)):
        assert clean_accuracy(table(counts, 221), np.array([0]), 0.001) == right
    assert clean_accuracy(table([5, 5], 10), np.array([0]), 0.001) == 0


def test_counts_of_something_else_are_refused() -> None:
    good = table([9, 0], 9)
    with pytest.raises(RefusedError, match="all 9 positions"):
        RULE.certify(CountTable(good.selection_counts, good.counts - [[1, 0]], good.n - 1, good.sigma, 2, noise="splitting"), 0.1)  # fmt: skip
    with pytest.raises(RefusedError, match="proved for splitting noise; this table has 'uniform'"):
        RULE.certify(
            CountTable(good.selection_counts, good.counts, good.n, good.sigma, 2, noise="uniform"), 0.1
        )
    for name in ("cohen", "runner-up", "uniform-l1", "sequential", "dsrs"):
        with pytest.raises(RefusedError, match="Use 'splitting-l1'"):
            find_certificate(name).certify(good, 0.1)
    assert RULE.guarantee.label(0.001) == "deterministic, of the smoothed classifier g, on images of 8 bits"


class Sum(torch.nn.Module):
    """Class 1 where what it sees is bright in the middle."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x.flatten(1).mean(dim=1) - 0.5
        return torch.stack([-bright, bright], dim=1)


@pytest.mark.parametrize(("tile", "block"), [(60, 20), (100, 100), (64, 16)])
def test_every_position_is_counted_once_whatever_the_seed_and_the_tile(tile: int, block: int) -> None:
    width = 221
    levels = torch.randint(256, (3, 1, 4, 4), generator=torch.Generator().manual_seed(1))
    for seed in (0, 5):
        images = [
            ImageCounts(i, 0, x.float() / 255, torch.zeros(2, 2, dtype=torch.int64))
            for i, x in enumerate(levels)
        ]
        sampler = sampler_of(
            Sum(), 2, sigma=sigma_of(width), key=(seed,), n0=0, n=width, tile=tile, block=block, device=CPU, noise="splitting"
        )  # fmt: skip
        for _ in sampler.run(images):
            pass
        for image, x in zip(images, levels, strict=True):
            votes = Sum()(split(x, torch.arange(width), width)).argmax(dim=1)
            assert image.counts.tolist() == [[0, 0], torch.bincount(votes, minlength=2).tolist()]
            assert image.done


def test_no_position_is_counted_twice_or_left_out() -> None:
    """By a network that knows one position alone: its class is counted once, whichever position that is."""
    width, x = 23, torch.randint(256, (1, 3, 3), generator=torch.Generator().manual_seed(3))
    every = split(x, torch.arange(width), width)
    assert len(every.unique(dim=0)) == width

    class Knows(torch.nn.Module):
        def __init__(self, position: int) -> None:
            super().__init__()
            self.there = every[position]

        def forward(self, shown: torch.Tensor) -> torch.Tensor:
            same = (shown == self.there).flatten(1).all(dim=1).float()
            return torch.stack([1 - same, same], dim=1)

    for position in range(width):
        image = ImageCounts(0, 0, x.float() / 255, torch.zeros(2, 2, dtype=torch.int64))
        sampler = sampler_of(
            Knows(position), 2, sigma=sigma_of(width), key=(0,), n0=0, n=width, tile=16, block=8, device=CPU, noise="splitting"
        )  # fmt: skip
        for _ in sampler.run([image]):
            pass
        assert image.counts[1].tolist() == [width - 1, 1]


def test_training_sees_images_at_random_positions() -> None:
    """x + δ is x at one of the positions, each image at its own; a resumed step sees the same."""
    sigma, x = sigma_of(7), torch.randint(256, (5, 1, 2, 2)).float() / 255
    state = object.__new__(TrainingState)
    state.sigma, state.law, state.seed, state.device, state.exponent = sigma, "splitting", 3, CPU, 0
    state.batch, state.mine, state.x, state.step = (8, 1, 2, 2), slice(2, 7), x, 4
    moved = x + state.noise()
    assert torch.equal(moved, x + state.noise())
    assert not torch.equal(moved, x + state.noise(1))
    # Whoever has the whole batch moves these images alike.
    ours = state.noise()
    state.mine, state.x = slice(0, 8), torch.cat([x[:2], x, x[:1]])
    assert torch.equal(state.noise()[2:7], ours)
    every = torch.stack([split((image * 255).round().long(), torch.arange(7), 7) for image in x])
    nearest = (every - moved[:, None]).abs().amax(dim=(2, 3, 4))
    assert (nearest.min(dim=1).values < 1e-6).all()
    assert len(set(nearest.argmin(dim=1).tolist())) > 1


def test_from_a_sweep_file_to_a_table(chain: Chain) -> None:
    values = tiny(
        noise="splitting", sigma=0.25, training={"epochs": 8},
        certification={"certificates": ["splitting-l1"], "shards": 1, "max_images": 10, "radii": [0.0, 0.1, "40/255"]},
    )  # fmt: skip
    training, counting = chain.plan(values).requests
    chain.run(training.task)
    spec = counting.task.run.count_spec
    assert (spec.noise, spec.n, spec.n0) == ("splitting", 221, 0)
    stopped = chain.work(counting.task, StopsAfter)
    stopped.tiles = 3
    from jobs.certify import count

    with pytest.raises(Stopped):
        count.main(stopped)
    chain.run(counting.task)
    found = read_table(counting.task.run)
    certified = RULE.certify(found.counts(), 0.001)
    assert (certified.predicted == found.rows.label).mean() > 0.5
    assert (found.rows.n == 221).all()

    from jobs.data import load
    from jobs.models.load import load_trained, to_sample

    train = training.task.run
    images = load("digits", {}, "test", chain.place.data, positions=found.rows.index.tolist())
    model, _ = load_trained(train.model_file, train.train_spec.hash, images.shape)
    network = to_sample(model, "fp32", "off", 221, images.shape, CPU)
    pixels, _ = images.batch(torch.arange(len(images)))
    for row, image in enumerate(pixels):
        with torch.inference_mode():
            votes = network(split(image.long(), torch.arange(221), 221)).argmax(dim=1)
        # Another tile is another executed function, up to logits that are all but equal.
        assert np.abs(torch.bincount(votes, minlength=10).numpy() - found.rows.counts[row]).sum() <= 2

    exported = json.loads(chain.cli("export", "tiny", "--format", "json").out)["rows"]
    assert {row["norm"] for row in exported} == {"l1"}
    assert exported[0]["guarantee"] == RULE.guarantee.label(0.001)
    assert exported[0]["certified_accuracy"] == exported[0]["clean_accuracy"]
    assert exported[0]["alpha"] is None
    caption = chain.cli("export", "tiny", "--format", "md").out.split("Rounded down")[0]
    assert RULE.guarantee.label(0.001) in caption
    assert "alpha" not in caption
    assert "n = " not in caption


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"certification": {"certificates": ["cohen"]}}, "Use 'splitting-l1'"),
        ({"certification": {"stopping": "radius-within"}}, "counts every position of its intervals once"),
        ({"certification": {"selection": "clean"}}, "counts every position of its intervals once"),
        ({"certification": {"arithmetic": "exact"}}, "supports Gaussian noise only"),
        ({"method": "smoothadv"}, "Methods that support it: consistency, gaussian, stability"),
        ({"method": {"name": "consistency", "steps": 4}}, "consistency with steps = 4 moves images"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(chain: Chain, changes: dict[str, Any], says: str) -> None:
    values = {"noise": "splitting", "certification": {"certificates": ["splitting-l1"]}}
    for key, value in changes.items():
        values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    with pytest.raises(InputError, match=says):
        chain.plan(tiny(**values))
