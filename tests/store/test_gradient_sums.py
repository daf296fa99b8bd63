"""Sums of the noise that leaves the class: what is summed, whatever interrupts it, and what is stored of it."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from chain import Chain, StopsAfter, tiny
from samplers import sampler_of
from torch import Tensor, nn

from jobs.certify import count
from jobs.certify.recorders.gradient_sums import products, summed
from jobs.certify.sampler import ImageCounts
from jobs.noise import smoothing_noise
from jobs.random import stream
from rsctl.certificates import find_certificate
from rsctl.certificates.table import QUANTUM
from rsctl.config.runs import CountSpec
from rsctl.errors import InputError
from rsctl.store.files import replace
from rsctl.store.shards import Corrupt, read_shard
from rsctl.store.tables import data_files, read_table
from rsctl.store.task_context import Stopped

CPU = torch.device("cpu")
SUMMED = {"gradient": True, "certificates": ["second-order"]}


class Corner(nn.Module):
    """Class 0, 1 or 2 by the first two coordinates."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return torch.stack([torch.full((len(x),), 0.4), flat[:, 0], flat[:, 1]], dim=1)


def sampled(n0: int, n: int, tile: int, block: int, images: int, gradient: bool = True) -> list[ImageCounts]:
    pixels = torch.linspace(-0.2, 0.3, 16).reshape(1, 4, 4)
    made = [ImageCounts(i, 0, pixels, torch.zeros(2, 3, dtype=torch.int64)) for i in range(images)]
    sampler = sampler_of(
        Corner(), 3, sigma=0.5, key=(5,), n0=n0, n=n, tile=tile, block=block, device=CPU, gradient=gradient
    )
    for _ in sampler.run(iter(made)):
        pass
    assert all(image.done for image in made)
    return made


@pytest.mark.parametrize(
    ("n0", "n", "tile", "block"), [(30, 130, 60, 20), (20, 20, 20, 20), (1, 101, 100, 10)]
)
def test_the_sums_are_those_of_the_draws_outside_the_class(n0: int, n: int, tile: int, block: int) -> None:
    """Drawn once more here, one block after another, without the sampler."""
    for image in sampled(n0, n, tile, block, 3):
        kept = image.kept["gradient_sums"]
        chosen = int(image.counts[0].argmax())
        sums, others = np.zeros((2, 16)), [0, 0]
        for number in range(-(-n // block)):
            key = stream(CPU, 5, "estimation", image.position, number)
            noise = smoothing_noise((block, 1, 4, 4), 0.5, 0, key)[: min(block, n - number * block)]
            left = Corner()(image.pixels + noise).argmax(dim=1) != chosen
            sums[number % 2] += (noise[left].double() / 0.5).sum(dim=0).flatten().numpy()
            others[number % 2] += int(left.sum())
        assert kept["misses"].tolist() == others
        assert sum(others) == n - int(image.counts[1, chosen]) > 0
        np.testing.assert_allclose(kept["sums"].numpy() * QUANTUM, sums, atol=sum(others) * QUANTUM)
        a, b = sums
        np.testing.assert_allclose(products(kept["sums"]), [a @ a, a @ b, b @ b], rtol=1e-5, atol=1e-5)


def test_the_class_is_the_selection_s_whatever_the_estimation_draws_say() -> None:
    """All draws are of class 1: noise is summed up from every one of them, or, where 1 was selected, from none."""

    class Always(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([0.0, 1.0, 0.0]).repeat(len(x), 1)

    sums = []
    for chosen in range(3):
        image = ImageCounts(0, 0, torch.zeros(1, 4, 4), torch.zeros(2, 3, dtype=torch.int64), blocks=[1, 0])
        image.counts[0, chosen] = 20
        sampler = sampler_of(
            Always(), 3, sigma=0.5, key=(5,), n0=20, n=80, tile=20, block=20, device=CPU, gradient=True
        )
        for _ in sampler.run([image]):
            pass
        kept = image.kept["gradient_sums"]
        assert kept["misses"].tolist() == ([0, 0] if chosen == 1 else [40, 40])
        sums.append(kept["sums"])
    assert not sums[1].any()
    assert sums[0].all()
    assert torch.equal(sums[0], sums[2])
    # From the start: no estimation draw is made before all selection draws are counted.
    image = ImageCounts(0, 0, torch.zeros(1, 4, 4), torch.zeros(2, 3, dtype=torch.int64))
    sampler = sampler_of(
        Always(), 3, sigma=0.5, key=(5,), n0=40, n=80, tile=80, block=20, device=CPU, gradient=True
    )
    for _ in sampler.run([image]):
        pass
    assert not any(column.any() for column in image.kept["gradient_sums"].values())
    assert sampler.drawn == 40 + 80


def test_summing_up_changes_no_count_and_no_sum_depends_on_what_is_sampled_beside_it() -> None:
    with_sums, alone = sampled(30, 130, 60, 20, 4), sampled(30, 130, 20, 20, 1)
    without = sampled(30, 130, 60, 20, 4, gradient=False)
    for one, other in zip(with_sums, without, strict=True):
        assert torch.equal(one.counts, other.counts)
        assert other.kept == {}
    assert torch.equal(*(image.kept["gradient_sums"]["sums"] for image in (with_sums[0], alone[0])))


def test_sums_are_exact_in_any_order_and_by_either_way() -> None:
    """What a CPU does (the rows that are outside) and what a GPU does (a product with all rows) agree to the bit."""
    noise = torch.randn((300, 3, 8, 8), generator=torch.Generator().manual_seed(1)) * 0.25
    outside = torch.rand(300, generator=torch.Generator().manual_seed(2)) < 0.3
    found = summed(noise, outside, 0.25)
    quanta = noise.flatten(1).double().mul(1 / (QUANTUM * 0.25)).round()
    assert torch.equal(found, outside.double() @ quanta)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(3))
    assert torch.equal(found, summed(noise[order], outside[order], 0.25))
    exact = (noise[outside].double() / 0.25).flatten(1).sum(dim=0)
    assert (found * QUANTUM - exact).abs().max() <= 0.51 * QUANTUM * int(outside.sum())


def test_the_sums_of_a_sampling_that_is_stopped_after_every_tile_are_the_same(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = tiny(certification={**SUMMED, "max_images": 2})
    committed = chain.run_all(values)
    first = read_table(chain.counts_run()).rows
    model = committed.requests[0].task.run.model_file.read_bytes()
    monkeypatch.setenv("RSCTL_STORE", str(chain.folder / "stuttering"))
    values["certification"]["shards"] = 1
    committed = chain.plan(values)
    replace(committed.requests[0].task.run.model_file, model)
    task = committed.requests[1].task
    attempts, halfway = 0, False
    while True:
        attempts += 1
        work = chain.work(task, StopsAfter)
        try:
            count.main(work)
            break
        except Stopped:
            pending = [p for path in data_files(task.run) for p in read_shard(path).pending]
            halfway = halfway or any(
                all(column.any() for column in p.extras["gradient_sums"].values()) for p in pending
            )
    assert attempts > 4
    assert halfway
    again = read_table(task.run).rows
    ours, theirs = (rows.extras["gradient_sums"] for rows in (first, again))
    np.testing.assert_array_equal(first.counts, again.counts)
    np.testing.assert_array_equal(ours["misses"], theirs["misses"])
    np.testing.assert_array_equal(ours["products"], theirs["products"])
    assert ours["draws"].tolist() == theirs["draws"].tolist() == [100, 100]
    assert (ours["misses"] > 0).any()


def test_second_order_from_a_sweep_file(chain: Chain) -> None:
    """Sampled, compacted, exported; a table without sums refuses it and says what to do; other certificates take it too."""
    chain.run_all(tiny(certification={**SUMMED, "alpha": 0.05, "n": 400}))
    run = chain.counts_run()
    table = read_table(run).counts()
    assert (run.path / "counts.h5").exists()
    radii = find_certificate("second-order").certify(table, 0.05)
    with h5py.File(run.path / "counts.h5") as file:
        np.testing.assert_array_equal(file["certificates/second-order/radius"][()], radii.radius)
        assert file["halves/products"].shape == (20, 3)
    for name in ("cohen", "runner-up"):
        find_certificate(name).certify(table, 0.05)
    exported = chain.cli("export", "tiny", "--format", "csv")
    assert exported.code == 0
    assert "second-order" in exported.out
    # The sums are part of what a run is: without them it is another one.
    plain = chain.run_all(tiny(name="plain"))
    assert plain.requests[-1].task.run.id != run.id
    refused = chain.cli("export", "plain", "--certificate", "second-order")
    assert refused.code == 2
    assert "certification.gradient = true" in refused.err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"noise": "laplace", "certification": {"gradient": True, "certificates": ["laplace-l1"]}},
            "Gaussian noise",
        ),
        ({"exponent": 4, "certification": {"gradient": True, "certificates": ["dsrs"]}}, "Gaussian noise"),
        (
            {
                "certification": {
                    "gradient": True,
                    "stopping": "radius-within",
                    "certificates": ["sequential"],
                }
            },
            "fixed n",
        ),
        ({"certification": {"certificates": ["second-order"]}}, "certification.gradient = true"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_runs(
    chain: Chain, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        chain.plan(tiny(**changes))


def test_a_file_whose_sums_are_not_those_of_its_counts_is_no_part_of_the_table(chain: Chain) -> None:
    from rsctl.store.checks import check_shard

    chain.run_all(tiny(certification=SUMMED))
    run = chain.counts_run()
    (path,) = data_files(run)
    shard = check_shard(run, path, read_shard(path))
    rows = shard.rows
    sums = rows.extras.pop("gradient_sums")
    with pytest.raises(Corrupt, match="gradient sums don't match"):
        check_shard(run, path, shard)
    rows.extras["gradient_sums"] = {**sums, "draws": np.array([150, 50])}
    with pytest.raises(Corrupt, match="gradient sums don't match"):
        check_shard(run, path, shard)
    rows.extras["gradient_sums"] = {**sums, "products": sums["products"][:, :2]}
    assert "sums of noise" in rows.problem(1)


def test_the_halves_of_the_draws_are_blocks_of_even_and_of_odd_number() -> None:
    common = {
        "model_hash": "m", "model_run": "r", "dataset": "digits", "dataset_parameters": {}, "split": "test", "sigma": 0.5,
        "seed": 0, "n0": 50, "precision": "fp32", "tile": 100,
    }  # fmt: skip
    for n in (1, 49, 50, 51, 100, 120, 160, 1000, 1001):
        rows = [min(50, n - start) for start in range(0, n, 50)]
        spec = CountSpec(**common, n=n, block=50)
        assert spec.halves == (sum(rows[::2]), sum(rows[1::2]))
        # Runs from before keep their names.
        assert spec.hash == CountSpec(**common, n=n, block=50, gradient=False).hash
        assert spec.hash != CountSpec(**common, n=n, block=50, gradient=True).hash
