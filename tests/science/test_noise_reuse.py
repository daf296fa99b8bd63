"""Noise that chose a network must not certify it: validation and test share none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from chain import Chain, tiny
from numpy.typing import NDArray
from samplers import sampler_of

from jobs.attacks.search import AttackSearch
from jobs.certify.noisy_inputs import NoisyInputs
from jobs.certify.sampler import ImageCounts
from jobs.models.load import load_trained, to_sample
from rsctl.certificates import CountTable, find_certificate
from rsctl.config.runs import AttackSpec, CountSpec, parse_spec
from rsctl.store.rows import Rows
from rsctl.store.tables import Reader

CPU = torch.device("cpu")
SIGMA, N, ALPHA = 0.5, 400, 0.05
CANDIDATES, TRIALS, SHAPE = 40, 60, (3, 4, 4)


def spec_of(**changes: Any) -> CountSpec:
    values = {
        "model_hash": "m", "model_run": "m", "dataset": "cifar10", "dataset_parameters": {}, "split": "test", "seed": 0,
        "sigma": SIGMA, "n0": 100, "n": N, "precision": "fp32", "tile": 400, "block": 100,
    }  # fmt: skip
    return CountSpec(**{**values, **changes})


def noise(spec: CountSpec, position: int) -> NDArray[np.float64]:
    """The estimation noise of an image, (n, d), in units of sigma."""
    shown = NoisyInputs(SIGMA, spec.noise_key, N, CPU, "gaussian", 0, "float")
    rows, black = torch.empty(spec.block, *SHAPE), torch.zeros(SHAPE)
    blocks = [
        shown.fill(rows, black, "estimation", position, number).flatten(1)
        for number in range(N // spec.block)
    ]
    return torch.cat(blocks).double().numpy() / SIGMA


def false_certificates(chosen_by: CountSpec, judged_by: CountSpec) -> float:
    """The rate at which the luckiest of some half-spaces on one split gets a radius beyond its boundary on the other."""
    rng = np.random.default_rng(0)
    distance, wrong = 0.5, 0  # of every boundary, in units of sigma
    for position in range(TRIALS):
        normals = rng.standard_normal((CANDIDATES, int(np.prod(SHAPE))))
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        votes = [
            (noise(spec, position) @ normals.T > -distance).sum(axis=0) for spec in (chosen_by, judged_by)
        ]
        hits = int(votes[1][votes[0].argmax()])
        counts = np.array([[hits, N - hits]], np.int32)
        table = CountTable(
            np.array([[100, 0]], np.int32),
            counts,
            np.array([N]),
            SIGMA,
            dimension=48,
            noise="gaussian",
            stopping="fixed",
        )
        radius = find_certificate("cohen").certify(table, ALPHA).radius[0]
        wrong += bool(radius > distance * SIGMA)
    return wrong / TRIALS


def test_a_network_chosen_on_validation_noise_is_certified_on_noise_that_is_fresh() -> None:
    """With shared keys the winner's radius is false in most trials: the union over all that were tried."""
    test, before = spec_of(), spec_of(split="val", holdout=0.1)
    now = spec_of(split="val", holdout=0.1, keys="split")
    assert before.shares_noise
    assert not now.shares_noise
    assert false_certificates(before, test) > 0.5
    # α plus three standard errors of so many trials.
    assert false_certificates(now, test) < ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / TRIALS)


def test_the_noise_of_a_split_is_its_own_and_that_of_its_data() -> None:
    val = spec_of(split="val", holdout=0.1, keys="split")
    others = [
        spec_of(),
        val.model_copy(update={"seed": 1}),
        val.model_copy(update={"dataset": "cifar100"}),
        val.model_copy(update={"dataset_parameters": {"size": 64}}),
        val.model_copy(update={"data": "other files"}),
    ]
    ours = noise(CountSpec(**val.model_dump()), 7)
    for other in others:
        theirs = noise(CountSpec(**other.model_dump()), 7)
        assert abs(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]) < 5 / np.sqrt(ours.size)
    assert np.array_equal(ours, noise(spec_of(split="val", holdout=0.2, keys="split"), 7))


def test_the_test_split_keeps_its_keys_and_tables_of_held_out_images_are_new(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both identities, and that counting and attacking take their noise from the key of their table."""
    keys = []

    def noted(*arguments: Any, key: tuple[int | str, ...], **options: Any) -> AttackSearch:
        keys.append(key)
        return AttackSearch(*arguments, key=key, **options)

    monkeypatch.setattr("jobs.per_image.attack.AttackSearch", noted)
    attack = {"attack": "ddn", "norm": "l2", "steps": 1}
    chain.run_all(tiny(certification={"split": "val", "max_images": 4, "shards": 1}, attack=attack))
    (attacked,) = chain.store.runs("attacks")
    assert isinstance(attacked.spec, AttackSpec)
    assert keys == [attacked.spec.noise_key]
    assert keys[0][1] == "val"
    run = chain.counts_run()
    spec = run.count_spec
    assert spec.keys == "split"
    before = parse_spec({**spec.model_dump(), "keys": "shared"})
    assert isinstance(before, CountSpec)
    assert before.hash != spec.hash
    assert before.hash[:16] == "5e371b3991a47d76"
    stored = Reader(run, Rows).read().rows
    assert np.array_equal(stored.counts, counted(chain, spec, stored))
    assert not np.array_equal(stored.counts, counted(chain, before, stored))


def test_where_everything_is_counted_nothing_is_drawn_and_tables_of_held_out_images_stay(
    chain: Chain,
) -> None:
    chain.plan(
        tiny(noise="splitting", sigma=0.3, certification={"split": "val", "certificates": ["splitting-l1"]})
    )
    spec = chain.counts_run().count_spec
    assert spec.keys == "shared"
    assert not spec.shares_noise


def counted(chain: Chain, spec: CountSpec, rows: Rows) -> NDArray[np.int32]:
    """Counts of the stored images with the key of `spec`."""
    from jobs.data import load

    images = load("digits", {}, "train", chain.place.data, positions=rows.index.tolist())
    model, _ = load_trained(
        chain.store.run("models", spec.model_run).model_file, spec.model_hash, images.shape
    )
    sampler = sampler_of(
        to_sample(model, "fp32", "off", int(spec.tile), images.shape, CPU), images.shape.classes, sigma=spec.sigma,
        key=spec.noise_key, n0=spec.n0, n=spec.n, tile=int(spec.tile), block=spec.block, device=CPU,
    )  # fmt: skip
    under_way = [
        ImageCounts(
            int(position), 0, images.batch(torch.tensor([row]))[0][0].float() / 255, torch.zeros(2, 10).long()
        )
        for row, position in enumerate(rows.index)
    ]
    for _ in sampler.run(under_way):
        pass
    return np.stack([image.counts[1].numpy() for image in under_way]).astype(np.int32)
