"""Attacks on the cascades of a sweep file: planned, run, tabulated, and reported where they contradict the certificate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chain import Chain, tiny
from test_broken import breaks, edit

from rsctl.certificates.cascade import Cascade
from rsctl.cluster.control import sweep_tasks
from rsctl.cluster.prune import leftovers
from rsctl.cluster.retry import _with_needs
from rsctl.config.runs import AttackSpec
from rsctl.config.sweep import build_sweep
from rsctl.config.validate import Invalid
from rsctl.plan.describe import describe
from rsctl.plan.forward import Footprint
from rsctl.plan.memory import evaluated
from rsctl.plan.plan import make_plan
from rsctl.plan.tasks import Task
from rsctl.report.figures.draw import plot
from rsctl.report.figures.series import collect
from rsctl.report.tables.attacks import attack_values
from rsctl.results.sweep import sweep_results

ATTACK = {"attack": "ddn", "target": "cascade", "steps": 15, "noises": 8, "n": 400}
SWEEP: dict[str, Any] = {
    "grid": {"sigma": [0.25, 0.4]},
    "training": {"epochs": 8, "warmup_epochs": 0.0},
    "certification": {"n": 400, "max_images": 8, "shards": 1, "certificates": ["cohen"]},
    "cascade": [{"levels": [0.4, 0.25], "tau": 0.7}],
    "attack": ATTACK,
}


def values_of(**changes: Any) -> dict[str, Any]:
    values = tiny(**{**SWEEP, **changes})
    values.pop("sigma", None)
    return values


def test_an_attack_on_a_cascade_needs_all_its_models_and_what_it_finds_within_a_radius_is_reported(
    chain: Chain,
) -> None:
    chain.run_all(values_of())
    (run,) = chain.store.runs("attacks")
    spec = run.spec
    assert isinstance(spec, AttackSpec)
    assert (spec.target, spec.sigma) == ("cascade", 0.25)
    assert [(one.sigma, one.tau) for one in spec.before] == [(0.4, 0.7)]
    models = {f"models/{one.id}/0" for one in chain.store.runs("models")}
    assert len(models) == 2
    assert _with_needs([Task(run, 0)]) == {*models, Task(run, 0).key}
    keys = [task.key for task in sweep_tasks(chain.store, "tiny")]
    assert keys.index(Task(run, 0).key) > max(map(keys.index, models))
    assert leftovers(chain.place, recent=0.0) == []

    results = sweep_results(chain.store, "tiny")
    assert results.broken == []
    (row,), (cascade,) = results.attacked, results.cascades
    assert "+" in row.checkpoint
    distance = {int(i): float(d) for i, d in zip(row.index, row.distance, strict=True)}
    right = cascade.score >= 0
    assert right.sum() >= 3
    for image, radius in zip(cascade.index[right], cascade.score[right], strict=True):
        assert distance[int(image)] >= radius
    assert np.isfinite(list(distance.values())).sum() >= 5, "it finds what it searches for"
    shown = chain.cli("export", "tiny")
    assert shown.code == 0
    assert "Attacks on the cascade of σ = 0.4 → 0.25 (τ = 0.7), digits test" in shown.out
    assert attack_values(row)["before"] == [{"run": spec.before[0].run, "sigma": 0.4, "tau": 0.7}]

    panels, _ = collect(chain.store, "tiny")
    assert {panel.group.first.certificate: len(panel.attacked) for panel in panels} == {
        "cohen": 0,
        "cascade": 1,
    }
    plot(chain.store, "tiny", chain.folder / "curve.svg")
    assert (
        "the cascade of σ = 0.4 → 0.25 (τ = 0.7), under attack by ddn"
        in (chain.folder / "curve.svg").read_text()
    )

    # An adversarial image within the radius.
    image = int(cascade.index[int(np.argmax(cascade.score))])
    edit(run, image, 0.001)
    results = sweep_results(chain.store, "tiny")
    (one,) = results.broken
    assert (one.image, one.distance, one.certificate) == (image, 0.001, "cascade")
    assert one.certified_by == f"cascades/{cascade.run}"
    assert "BROKEN certificates=1" in results.cascades[0].name
    assert not any("BROKEN" in row.name for row in results.rows)
    assert breaks(chain) == [], "no certificate of a level is about the cascade"
    shown = chain.cli("export", "tiny")
    assert shown.code == 1
    assert "BROKEN CERTIFICATE" in shown.err

    # Another threshold is another classifier.
    assert sweep_results(chain.store, "tiny", cascade=Cascade((0.4, 0.25), (0.75,))).broken == []
    assert sweep_results(chain.store, "tiny", cascade=Cascade((0.25, 0.4), (0.7,))).broken == []
    assert len(sweep_results(chain.store, "tiny", cascade=Cascade((0.4, 0.25), (0.7,))).broken) == 1


def test_the_plan_names_the_attacked_cascade_and_reckons_with_the_memory_of_all_its_networks(
    chain: Chain,
) -> None:
    plan = make_plan(build_sweep(values_of(), "sweep.toml", chain.place.data), "sweep.toml", chain.store)
    assert (
        "attacked by ddn (l2, cascade of σ = 0.4 → 0.25)" in describe(plan, chain.place, only_known=True).text
    )
    single = {**values_of(), "attack": {**ATTACK, "target": "smoothed"}}
    smoothed = make_plan(build_sweep(single, "sweep.toml", chain.place.data), "sweep.toml", chain.store)
    parts = Footprint(1e6, 1e6, 1e6, 1e6, 1e6, 1e6)
    (of_cascade,) = (one for one in plan.tables.values() if isinstance(one.spec, AttackSpec))
    of_level = next(one for one in smoothed.tables.values() if isinstance(one.spec, AttackSpec))
    assert evaluated(of_cascade, parts) == 2 * evaluated(of_level, parts)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cascade": []}, "add a [[cascade]] table"),
        ({"attack": {**ATTACK, "topk": 2}}, "topk must be 1"),
    ],
)
def test_what_cannot_be_attacked_is_named(chain: Chain, changes: dict[str, Any], told: str) -> None:
    values = values_of(**changes)
    if not values["cascade"]:
        del values["cascade"]
    with pytest.raises(Invalid, match=told.replace("[", r"\[")):
        make_plan(build_sweep(values, "sweep.toml", chain.place.data), "sweep.toml", chain.store)
