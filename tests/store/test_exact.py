"""Exact arithmetic from a sweep file to a table: one that an interruption doesn't change, and that says what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain import Chain, StopsAfter, tiny

from jobs.certify import count
from rsctl.certificates import find_certificate
from rsctl.certificates.exact_noise import level_left
from rsctl.certificates.stopping import CertifyAtRadii
from rsctl.config.runs import CountSpec
from rsctl.errors import InputError
from rsctl.store.extras.looks import stopping_rule
from rsctl.store.files import replace
from rsctl.store.tables import read_table
from rsctl.store.task_context import Stopped


def exact(epochs: int = 2, **certification: Any) -> dict[str, Any]:
    return tiny(
        training={"epochs": epochs}, certification={"arithmetic": "exact", "shards": 1, **certification}
    )


def test_an_exact_table_is_another_one_says_so_and_survives_interruptions(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    float_run = chain.run_all(tiny(name="plain", certification={"shards": 1})).requests[1].task.run
    (model,) = chain.store.runs("models")
    chain.run_all(exact())
    (run,) = [run for run in chain.store.runs("counts") if run.id != float_run.id]
    table, plain = read_table(run), read_table(float_run)
    assert table.counts().arithmetic == "exact"
    assert plain.counts().arithmetic == "float"
    assert (table.attributes["arithmetic"], plain.attributes["arithmetic"]) == ("exact", "float")
    assert not np.array_equal(table.rows.counts, plain.rows.counts)
    # The same network under nearly the same noise: its classes and how often they are drawn are alike.
    difference = np.abs(table.rows.counts - plain.rows.counts).max(axis=1)
    assert np.median(difference) < 40

    exported = json.loads(chain.cli("export", "tiny", "--format", "json").out)
    assert exported["rows"][0]["guarantee"] == (
        "probabilistic 0.999 per image, of the smoothed classifier g, in exact arithmetic on whole pixel values"
    )
    for tile in (0, 3, 7):
        monkeypatch.setenv("RSCTL_STORE", str(tmp_path / f"stop-{tile}"))
        committed = chain.plan(exact())
        replace(committed.requests[0].task.run.model_file, model.model_file.read_bytes())
        stopped = chain.work(committed.requests[1].task, StopsAfter)
        stopped.tiles = tile
        with pytest.raises(Stopped):
            count.main(stopped)
        chain.run(committed.requests[1].task)
        again = read_table(committed.requests[1].task.run)
        for name in ("index", "selection_counts", "counts"):
            assert np.array_equal(getattr(table.rows, name), getattr(again.rows, name)), (tile, name)


def test_a_sequential_rule_stops_for_what_its_certificate_may_spend(chain: Chain) -> None:
    chain.run_all(
        exact(
            8,
            n=1000,
            stopping="certify-at-radii",
            stop_radii=[0.1],
            certificates=["sequential"],
            max_images=10,
        )
    )
    run = chain.counts_run()
    rule = stopping_rule(run.count_spec, 64)
    assert isinstance(rule, CertifyAtRadii)
    assert rule.alpha == level_left(0.001, 0.5, 64, 50 + 1000) < 0.001
    table = read_table(run)
    certified = find_certificate("sequential").certify(table.counts(), 0.001)
    early = (table.rows.n < 1000) & (certified.radius > 0)
    assert early.any()
    assert (certified.radius[early] >= 0.1).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"noise": "laplace", "certification": {"arithmetic": "exact", "certificates": ["laplace-l1"]}},
        {"exponent": 4, "certification": {"arithmetic": "exact", "certificates": ["neyman-pearson"]}},
        {"certification": {"arithmetic": "exact", "shells": [0.5], "certificates": ["dsrs"]}},
        {"certification": {"arithmetic": "exact", "gradient": True, "certificates": ["second-order"]}},
    ],
)
def test_noise_whose_rounding_nothing_is_known_of_is_refused(chain: Chain, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"certification\.arithmetic = 'exact' supports Gaussian noise only"):
        chain.plan(tiny(**changes))


def test_a_level_of_noise_whose_pixel_values_float32_would_round_is_refused(chain: Chain) -> None:
    """From about 7000 on whole pixel values leave 2^24; splitting noise would go through billions of positions."""
    with pytest.raises(InputError, match=r"certification\.sigma"):
        chain.plan(exact(sigma=8000.0, alpha=0.5))
    with pytest.raises(InputError, match=r"certification\.sigma"):
        chain.plan(tiny(noise="splitting", certification={"sigma": 1e7, "certificates": ["splitting-l1"]}))


def test_an_alpha_that_the_draws_would_use_up_is_refused_before_a_draw(chain: Chain) -> None:
    with pytest.raises(InputError, match="may depart from the Gaussian law"):
        chain.plan(exact(alpha=1e-13))


def test_float_is_the_neutral_value() -> None:
    common = {
        "model_hash": "m", "model_run": "r", "dataset": "digits", "dataset_parameters": {}, "split": "test", "sigma": 0.5,
        "seed": 0, "n0": 50, "n": 200, "precision": "fp32", "tile": 100, "block": 50,
    }  # fmt: skip
    assert CountSpec(**common).hash == CountSpec(**common, arithmetic="float").hash
    assert CountSpec(**common).hash != CountSpec(**common, arithmetic="exact").hash
