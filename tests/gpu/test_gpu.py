"""What is true of a GPU alone. Every other test that computes something also does it on the GPU, where there is one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from chain import Chain, tiny
from samplers import sampler_of
from scipy.stats import chisquare

from jobs.certify.recorders.gradient_sums import summed
from jobs.certify.sampler import ImageCounts, Sampler
from jobs.models import build_model
from jobs.models.load import Executed, to_sample
from jobs.noise.splitting import split
from jobs.noise.whole_pixels import WholePixels, noisy
from jobs.random import stream
from rsctl.catalog import known_datasets
from rsctl.catalog.declare import DataShape
from rsctl.certificates.exact_noise import BITS, reach, weights
from rsctl.store.tables import read_table
from rsctl.store.task_context import Stopped, TaskContext

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
GPU, SHAPE, TILE = torch.device("cuda"), DataShape(1, 8, 10, {}), 400


def network(precision: str, mode: str = "off") -> Executed:
    torch.manual_seed(0)
    model = build_model("cnn", {"width": 4}, dataset=known_datasets()["digits"], shape=SHAPE)
    with torch.no_grad():
        model.train()(torch.rand(64, 1, 8, 8))
    return to_sample(model.eval(), precision, mode, TILE, SHAPE, GPU)


def images(count: int) -> list[ImageCounts]:
    nothing = torch.zeros(2, 10, dtype=torch.int64)
    return [
        ImageCounts(i, 0, torch.full((1, 8, 8), i / 10, device=GPU), nothing.clone()) for i in range(count)
    ]


def sampler(function: Executed, **further: Any) -> Sampler:
    values = {"n0": 100, "n": 3900, **further}
    return sampler_of(function, 10, sigma=0.5, key=(1,), tile=TILE, block=100, device=GPU, **values)


@contextmanager
def waits() -> Iterator[list[str]]:
    """Every time that the host waits for the GPU within."""
    found: list[str] = []
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found += [str(one.message) for one in caught if "synchroniz" in str(one.message)]


def test_this_counts_waits() -> None:
    with waits() as found:
        torch.ones(3, device=GPU).sum().item()
    assert found


@pytest.mark.parametrize("mode", ["off", "default", "graphs"])
def test_the_host_waits_for_counts_alone(mode: str) -> None:
    """Ten images of 4,000 draws are 100 tiles, and fetched in 7 parts."""
    function = network("bf16", mode)
    for _ in sampler(function).run(images(2)):
        pass
    with waits() as found:
        for _ in sampler(function).run(images(10)):
            pass
    assert 1 <= len(found) <= 10, found


@pytest.mark.parametrize("further", [{"arithmetic": "exact"}, {"noise": "splitting", "n0": 0, "n": 442}])
def test_whole_pixel_values_wait_for_nothing_and_depend_on_no_neighbour(further: dict[str, Any]) -> None:
    function = network("bf16")
    together, alone = images(10), images(10)
    for _ in sampler(function, **further).run(images(2)):
        pass
    with waits() as found:
        for _ in sampler(function, **further).run(together):
            pass
    assert 1 <= len(found) <= 10, found
    for image in reversed(alone):
        for _ in sampler(function, **further).run([image]):
            pass
    assert [one.counts.tolist() for one in together] == [one.counts.tolist() for one in alone]


def test_exact_draws_follow_their_law_and_are_added_without_rounding() -> None:
    noise = WholePixels(0.03, GPU)
    drawn = noise.draw((200, 1, 64, 64), stream(GPU, 1))
    values = drawn.double().cpu().numpy().astype(int).ravel()
    expected = weights(0.03) / 2.0**BITS * values.size
    seen = np.bincount(values + reach(0.03), minlength=len(expected))
    enough = expected >= 10
    observed, wanted = (np.append(a[enough], a[~enough].sum()) for a in (seen, expected))
    assert chisquare(observed, wanted / wanted.sum() * observed.sum()).pvalue > 1e-3
    levels = torch.randint(256, (1, 64, 64), device=GPU).float()
    out = noisy(levels / 255, drawn, torch.empty_like(drawn))
    assert torch.equal((out.double() * 255).round(), (levels + drawn).double())


def test_positions_of_splitting_noise_are_those_of_a_cpu() -> None:
    levels, positions = torch.randint(256, (3, 8, 8)), torch.arange(221)
    there = split(levels.to(GPU), positions.to(GPU), 221)
    assert torch.equal(there.cpu(), split(levels, positions, 221))


def test_the_first_task_settles_on_a_tile_and_the_table_is_that_of_this_tile(chain: Chain) -> None:
    ours = chain.run_all(tiny(certification={"tile": "auto"})).requests[1].task.run
    settled = json.loads((ours.path / "tile.json").read_text())
    assert settled["device"] == torch.cuda.get_device_name(GPU)
    assert len(settled["samples_per_second"]) > 1
    explicit = tiny(name="explicit", certification={"tile": settled["tile"]})
    theirs = chain.run_all(explicit).requests[0].task.run
    assert np.array_equal(read_table(ours).rows.counts, read_table(theirs).rows.counts)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("mode", ["off", "default", "graphs"])
def test_counts_are_the_same_beside_other_images_and_in_another_order(precision: str, mode: str) -> None:
    function, other = network(precision, mode), network(precision, mode)
    together, alone = images(9), images(9)
    for _ in sampler(function).run(together):
        pass
    for image in reversed(alone):
        for _ in sampler(other).run([image]):
            pass
    assert [one.counts.tolist() for one in together] == [one.counts.tolist() for one in alone]
    assert all(image.counts.sum(dim=1).tolist() == [100, 3900] for image in together)


def test_what_a_graph_returned_outlives_its_next_replay() -> None:
    function = network("fp32", "graphs")
    with torch.inference_mode():
        x, y = (torch.rand(TILE, 1, 8, 8, device=GPU).to(memory_format=torch.channels_last) for _ in range(2))
        first = function(x)
        kept = first.clone()
        assert not torch.equal(function(y), kept)
        assert torch.equal(first, kept)
        torch.testing.assert_close(first, network("fp32")(x), rtol=1e-4, atol=1e-4)


def test_sums_of_noise_are_those_of_a_cpu() -> None:
    noise = torch.randn((300, 3, 8, 8), generator=torch.Generator().manual_seed(1)) * 0.25
    outside = torch.rand(300, generator=torch.Generator().manual_seed(2)) < 0.3
    assert torch.equal(summed(noise, outside, 0.25), summed(noise.to(GPU), outside.to(GPU), 0.25).cpu())


def test_gradient_sums_on_the_way() -> None:
    one, other = images(3), images(3)
    for _ in sampler(network("fp32"), gradient=True).run(one):
        pass
    for image in other:
        for _ in sampler(network("fp32"), gradient=True).run([image]):
            pass
    for a, b in zip(one, other, strict=True):
        for name, column in a.kept["gradient_sums"].items():
            assert torch.equal(column, b.kept["gradient_sums"][name]), name


def test_a_training_step_does_not_wait(chain: Chain) -> None:
    """Records of the curve and checkpoints wait, once a second and at the end."""
    training = chain.plan(tiny(training={"epochs": 6, "batch_size": 64})).requests[0].task
    with waits() as found:
        work = chain.run(training)
    steps = 6 * (1437 // 64)
    assert work.run.model_file.exists()
    assert len(found) < steps, found[:5]


def test_a_checkpoint_from_a_node_with_more_gpus_is_resumed(chain: Chain) -> None:
    class StopsAtTen(TaskContext):
        steps = 10

        def stopping(self) -> str:
            self.steps -= 1
            return "told to" if self.steps == 0 else ""

    task = chain.plan(tiny(training={"epochs": 2})).requests[0].task
    with pytest.raises(Stopped):
        chain.run(task, StopsAtTen)
    saved = torch.load(task.run.checkpoint_file, weights_only=True)
    assert len(saved["rng_cuda"]) == 1
    saved["rng_cuda"] *= 16
    torch.save(saved, task.run.checkpoint_file)
    assert chain.run(task).run.model_file.exists()
