"""From bf16 counts to the fp32 network: the arithmetic, the level, and the draws that are compared."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import high_precision as exact
import mpmath as mp
import numpy as np
import pytest
import torch
from chain import Chain, tiny
from samplers import sampler_of
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from jobs.certify import count
from jobs.certify.sampler import ImageCounts
from jobs.models.load import Executed
from jobs.precision import float32_flags
from rsctl.certificates import CountTable, find_certificate
from rsctl.errors import InputError, RefusedError
from rsctl.plan.cost import table_work
from rsctl.plan.forward import network
from rsctl.store.tables import read_table
from rsctl.store.task_context import Stopped, TaskContext

TRANSFER = find_certificate("transfer")


def table(
    successes: np.ndarray, n: int, differing: np.ndarray, compared: int, sigma: float = 1.0
) -> CountTable:
    """Class 0 chosen."""
    counts = np.stack([successes, n - successes], axis=1)
    selection = np.zeros_like(counts)
    selection[:, 0] = 100
    disagreements = np.stack([differing, np.zeros_like(differing)], axis=1)
    return CountTable(
        selection,
        counts,
        np.full(len(counts), n),
        sigma,
        3072,
        disagreements=disagreements,
        compared=compared,
    )


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize(
    ("k", "n", "j", "m"), [(100, 100, 0, 100), (990, 1000, 3, 500), (99_000, 100_000, 20, 10_000)]
)
def test_radii_are_those_of_the_two_bounds_at_their_shares(
    k: int, n: int, j: int, m: int, alpha: float
) -> None:
    q = exact.one_minus_lower(k, n, mp.mpf(alpha) * 4 / 5) + exact.upper(j, m, mp.mpf(alpha) / 5)
    (radius,) = TRANSFER.certify(table(np.array([k]), n, np.array([j]), m), alpha).radius
    assert radius <= exact.minus_quantile(q)
    assert radius == pytest.approx(float(exact.minus_quantile(q)), abs=1e-9)


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_it_fails_with_probability_alpha_at_most(alpha: float) -> None:
    """Every pair of counts, weighed exactly; f′ differs from f only where f is right, the worst that it can do."""
    n, m = 60, 40
    k, j = (grid.ravel() for grid in np.meshgrid(np.arange(n + 1), np.arange(m + 1), indexing="ij"))
    radius = TRANSFER.certify(table(k, n, j, m), alpha).radius.reshape(n + 1, m + 1)
    p = np.linspace(0.5, 1 - 1e-12, 80)
    of_k = binom.pmf(np.arange(n + 1)[None, :], n, p[:, None])
    for z in np.linspace(0, 0.4, 40):
        of_j = binom.pmf(np.arange(m + 1), m, z)
        for row, true in zip(of_k, p - z, strict=True):
            wrong = radius > max(float(ndtri(min(true, 1 - 1e-16))), 0) + 1e-12
            assert row @ wrong @ of_j <= alpha


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_each_bound_uses_up_its_share(alpha: float) -> None:
    """Where the other one costs nothing: so a larger share of either would break the level."""
    many = 2**31 - 1
    n = 60
    k = np.arange(n + 1)
    radius = TRANSFER.certify(table(k, n, np.zeros(n + 1, int), many), alpha).radius
    at = ndtr(radius[radius > 0]) - 1e-7  # f and f′ alike, p a little below what the count k claims
    failing = [float(binom.pmf(k, n, p)[ndtr(radius) > p].sum()) for p in at]
    assert 0.79 * alpha < max(failing) <= 0.8 * alpha
    radius = TRANSFER.certify(table(np.full(n + 1, many), many, k, n), alpha).radius
    at = 1 - ndtr(radius[radius > 0]) + 1e-7  # f is always right, f′ wrong with a little more than is claimed
    failing = [float(binom.pmf(k, n, z)[(1 - ndtr(radius) < z) & (radius > 0)].sum()) for z in at]
    assert 0.19 * alpha < max(failing) <= 0.2 * alpha


def test_more_disagreement_means_a_smaller_radius_and_none_is_less_than_cohen() -> None:
    differing = np.array([0, 1, 5, 50, 400])
    shown = table(np.full(5, 9990), 10_000, differing, 1000)
    radius = TRANSFER.certify(shown, 0.001).radius
    assert (np.diff(radius) < 0).all()
    assert radius[0] < find_certificate("cohen").certify(shown, 0.001).radius[0]
    assert TRANSFER.certify(table(np.array([9990]), 10_000, np.array([700]), 1000), 0.001).predicted[0] == -1


def test_only_full_counts_without_disagreement_are_at_the_cap() -> None:
    shown = table(np.array([10_000, 10_000, 9999]), 10_000, np.array([0, 1, 0]), 1000)
    certified = TRANSFER.certify(shown, 0.001)
    assert certified.predicted.tolist() == [0, 0, 0]
    assert certified.at_cap.tolist() == [True, False, False]


def test_what_cannot_be_compared_is_refused() -> None:
    counts = np.array([[90, 10]])
    plain = CountTable(counts, counts, np.array([100]), 0.5, 3072)
    for uncompared in (plain, replace(plain, compared=100), replace(plain, disagreements=0 * counts)):
        with pytest.raises(RefusedError, match="fp32 too"):
            TRANSFER.certify(uncompared, 0.001)
    # One draw is one: it says next to nothing, and nothing is claimed.
    assert TRANSFER.certify(table(np.array([100]), 100, np.array([0]), 1), 0.001).predicted[0] == -1
    with pytest.raises(RefusedError, match="not those of 3 draws"):
        table(np.array([90]), 100, np.array([4]), 3)


def test_the_draws_are_fresh_and_counted_by_the_class_of_f() -> None:
    """f cuts at 0.1 and the reference at 0.3: they differ where the noise lies between, by f's class 1."""

    class Cut(torch.nn.Module):
        def __init__(self, at: float) -> None:
            super().__init__()
            self.at, self.seen = at, []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen.append(x.clone())
            above = (x[:, 0, 0, 0] > self.at).float()
            return torch.stack([1 - above, above], dim=1)

    f, reference = Cut(0.1), Cut(0.3)
    sampler = sampler_of(
        f, 2, sigma=0.5, key=(0,), n0=100, n=500, tile=200, block=100, device=torch.device("cpu"), reference=reference,
        transfer=5050,
    )  # fmt: skip
    images = [ImageCounts(7, 0, torch.zeros(1, 2, 2), torch.zeros(2, 2, dtype=torch.int64))]
    (image,) = [each for touched in sampler.run(images) for each in touched if each.done]
    drawn = torch.cat(reference.seen)[:5050, 0, 0, 0]
    between = ((drawn > 0.1) & (drawn <= 0.3)).sum()
    assert image.kept["comparison"]["disagreements"].tolist() == [0, int(between)]
    share = float(between) / 5050
    assert share == pytest.approx(0.1464, abs=0.02)  # Φ(0.6) − Φ(0.2)
    # f saw every compared tile too, and none of those draws was counted before.
    counted = torch.cat(f.seen[: len(f.seen) - len(reference.seen)])[:600, 0, 0, 0]
    assert not set(counted.tolist()) & set(drawn.tolist()) - {0.0}


class Flags(torch.nn.Module):
    """Remembers the arithmetic that it was called under."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, bool]] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.add((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        return x.flatten(1)[:, :2]


def test_each_network_is_called_in_its_own_precision() -> None:
    networks = {precision: Flags() for precision in ("tf32", "fp32")}
    f, reference = (
        Executed(torch.nn.Sequential(torch.nn.Identity(), network), precision)
        for precision, network in networks.items()
    )
    f.network, reference.network = networks.values()
    sampler = sampler_of(
        f, 2, sigma=0.5, key=(0,), n0=100, n=300, tile=200, block=100, device=torch.device("cpu"), reference=reference,
        transfer=300,
    )  # fmt: skip
    try:
        for _ in sampler.run([ImageCounts(7, 0, torch.zeros(1, 2, 2), torch.zeros(2, 2, dtype=torch.int64))]):
            pass
    finally:
        float32_flags("fp32")
    assert networks["tf32"].seen == {("high", True)}
    assert networks["fp32"].seen == {("highest", False)}


@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_hours_count_the_compared_draws_in_both_precisions(chain: Chain, precision: str) -> None:
    transfer = {"transfer": 230, "certificates": ["transfer"]}
    chain.plan(tiny(precision={"certification": precision}, certification=transfer))
    (model,) = chain.store.runs("models")
    work = table_work(model.train_spec, chain.counts_run().count_spec)
    of = network("cnn", {"width": 4}, "digits", {})
    assert work == [
        (("sampling", of, precision), 50 + 200 + 230),
        (("sampling", of, "fp32"), 230),
    ]


VALUES = tiny(
    precision={"certification": "bf16"},
    certification={"transfer": 230, "certificates": ["transfer", "cohen"], "shards": 1, "max_images": 3},
)


def test_from_a_sweep_file_with_an_interruption_anywhere(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = chain.plan(VALUES)
    chain.run(committed.requests[0].task)
    task = committed.requests[1].task

    class StopsAtEvery(TaskContext):
        def stopping(self) -> Any:
            return "told to"  # after every single tile

    stopped = 0
    while True:
        work = chain.work(task, StopsAtEvery)
        try:
            count.main(work)
        except Stopped:
            stopped += 1
            assert stopped < 40
            continue
        break
    assert stopped > 3 * 3  # the comparison of one image takes three
    pieces = read_table(task.run)
    # Undisturbed, in another store, from the same checkpoint.
    model = committed.requests[0].task.run.model_file
    monkeypatch.setenv("RSCTL_STORE", str(chain.folder / "undisturbed"))
    again = chain.plan(VALUES)
    twin = again.requests[0].task.run.model_file
    twin.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(model, twin)
    chain.run(again.requests[1].task)
    whole = read_table(again.requests[1].task.run)
    for column in ("index", "counts", "selection_counts"):
        assert np.array_equal(getattr(pieces.rows, column), getattr(whole.rows, column)), column
    found, expected = (table.rows.extras["comparison"]["disagreements"] for table in (pieces, whole))
    assert np.array_equal(found, expected)
    radius = TRANSFER.certify(pieces.counts(), 0.001).radius
    assert (radius <= find_certificate("cohen").certify(pieces.counts(), 0.001).radius).all()
    exported = chain.cli("export", "tiny", "--format", "csv")
    assert exported.code == 0
    assert "the network in fp32" in exported.out


@pytest.mark.parametrize(
    "changes",
    [
        {"certification": {"transfer": 100}},
        {
            "precision": {"certification": "tf32"},
            "certification": {"transfer": 100, "stopping": "radius-within", "certificates": ["sequential"]},
        },
        {"precision": {"certification": "bf16"}, "certification": {"certificates": ["transfer"]}},
        {
            "precision": {"certification": "bf16"},
            "certification": {"transfer": 100, "stopping": "radius-within", "certificates": ["sequential"]},
        },
    ],
)
def test_what_does_not_go_together_is_refused(chain: Chain, changes: dict[str, object]) -> None:
    with pytest.raises(InputError, match="transfer"):
        chain.plan(tiny(**changes))
