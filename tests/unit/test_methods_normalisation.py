"""A network without a normalisation layer: trained, published, sampled and started from as one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from chain import Chain, tiny

from jobs.data import load
from jobs.models.load import load_trained
from rsctl.config.validate import Invalid

PLAIN = {"normalisation": "none"}
BRIEF = {"epochs": 1, "batch_size": 400, "warmup_epochs": 0.0}


def trained(chain: Chain, **changes: Any) -> Any:
    """The models of a sweep, the last one that of its method."""
    tasks = [r.task for r in chain.plan(tiny(**changes)).requests if r.task.run.kind == "models"]
    for task in tasks:
        chain.run(task)
    shape = load("digits", {}, "test", chain.folder).shape
    return [load_trained(task.run.model_file, task.run.spec.hash, shape)[0] for task in tasks]


def test_without_normalisation_images_reach_the_network_as_they_are(chain: Chain) -> None:
    (plain,) = trained(chain, name="plain", method="macer", training={**BRIEF, **PLAIN})
    (usual,) = trained(chain, name="usual", method="macer", training=BRIEF)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(plain[0](x), x)
    assert not torch.equal(usual[0](x), x)
    assert not torch.equal(plain(x), plain[1](usual[0](x)))


def test_what_starts_from_such_a_network_is_one(chain: Chain) -> None:
    start = {"name": "gaussian", "sigma": 0.0, "training": PLAIN}
    first, second = trained(chain, method={"name": "heat", "start": start}, training=BRIEF)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(first[0](x), x)
    assert torch.equal(second[0](x), x)


def test_a_layer_that_is_taken_over_has_one_name(chain: Chain) -> None:
    """Said once for both trainings, or where the weights are trained: the same network, the same run."""
    once = chain.plan(tiny(name="once", method="heat", training=PLAIN))
    there = chain.plan(
        tiny(
            name="there",
            method={"name": "heat", "start": {"name": "gaussian", "sigma": 0.0, "training": PLAIN}},
        )
    )
    usual = chain.plan(tiny(name="usual", method="heat"))
    ids = [
        {r.task.run.id for r in each.requests if r.task.run.kind == "models"} for each in (once, there, usual)
    ]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 2
    assert not ids[0] & ids[2]


def test_another_layer_than_that_of_the_weights_is_refused(chain: Chain) -> None:
    method = {"name": "heat", "training": PLAIN}
    with pytest.raises(Invalid, match=r"training\.normalisation.*starts from.*method\.start\.training"):
        chain.plan(tiny(method=method))
    chain.plan(tiny(name="both", method="heat", training=PLAIN))  # the table of the sweep is of both
