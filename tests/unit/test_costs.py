"""Hours and memory of a plan: by the width of the network and the side of the images, measured or carried over and said so."""

from __future__ import annotations

from typing import Any

import pytest
from chain import Chain, tiny
from folders import shapes

from rsctl.config.sweep import build_sweep
from rsctl.plan.cost import Cost, estimate, measure
from rsctl.plan.forward import flops, network
from rsctl.plan.memory import estimate_memory, memory_text
from rsctl.plan.plan import Plan, make_plan

FEW = {"n0": 20, "n": 100, "max_images": 4, "shards": 1, "tile": 50, "block": 50}


def sweep(size: int, width: int = 4, **changes: Any) -> dict[str, Any]:
    dataset = {"name": "imagefolder", "path": "own", "size": size}
    training = {"epochs": 1, "batch_size": 8, "warmup_epochs": 0.0}
    return tiny(dataset=dataset, model={"width": width}, training=training, certification=FEW, **changes)


def planned(chain: Chain, values: dict[str, Any]) -> Plan:
    return make_plan(build_sweep(values, "sweep.toml", chain.place.data), "sweep.toml")


def cost(chain: Chain, values: dict[str, Any]) -> Cost:
    return estimate(planned(chain, values), chain.store)


@pytest.fixture
def measured(chain: Chain) -> Chain:
    """A store that has trained and sampled a network of width 4 on images of 16 pixels."""
    shapes(chain.place.data / "own", train=(8, 8, 8), test=(2, 2, 2), size=16)
    chain.run_all(sweep(16))
    return chain


def test_hours_go_with_width_and_pixels(measured: Chain) -> None:
    # Another seed: what is measured itself is done already.
    same = cost(measured, sweep(16, seed=1))
    assert same.hours > 0
    assert not same.scaled
    assert "about" not in same.text
    others = (
        (32, 4),
        (64, 4),
        (16, 16),
        (64, 16),
        (16, 4),
    )  # at once: each count loads torch in another process
    flops(measured.store, {network("cnn", {"width": w}, "imagefolder", {"size": s}) for s, w in others})
    for size, width, expected in ((32, 4, 4), (64, 4, 16), (16, 16, 12), (64, 16, 190)):
        other = cost(measured, sweep(size, width))
        assert not other.unknown
        assert other.scaled == ("cnn(width=4) imagefolder 16 px",)
        assert other.text.startswith("about ")
        assert "scaled by FLOPs from measurements of cnn(width=4) imagefolder 16 px" in other.text
        assert other.hours / same.hours == pytest.approx(expected, rel=0.35)


def test_another_architecture_or_arithmetic_or_method_stays_unknown(measured: Chain) -> None:
    for changes in (
        {"model": {"name": "resnet20"}},
        {"precision": {"training": "bf16", "certification": "bf16"}},
        {"method": "macer"},
    ):
        values = sweep(16)
        values |= changes
        assert cost(measured, values).unknown, changes


@pytest.mark.long
def test_a_forward_pass_is_counted_once_and_kept(measured: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {network("cnn", {"width": width}, "digits", {}) for width in (4, 16)}
    found = flops(measured.store, wanted)
    assert len(found) == 2
    monkeypatch.setattr("subprocess.run", None)
    assert flops(measured.store, wanted) == found
    narrow, wide = (found[one] for one in sorted(wanted, key=lambda one: len(one.parameters)))
    assert 8 < wide / narrow < 17


def test_memory_is_that_of_the_images_until_it_was_measured(measured: Chain) -> None:
    plan = planned(measured, sweep(16, seed=1))
    known, unknown = estimate_memory(plan, measure(measured.store)), estimate_memory(plan, {})
    (training,) = (key for key in unknown if key.startswith("models/"))
    assert unknown[training] == 1.0
    assert 0.3 < known[training] < 4
    for model in plan.models.values():
        model.images, model.pixels = 20_000, 3 * 224**2
    assert estimate_memory(plan, {})[training] == pytest.approx(2 * 20_000 * 3 * 224**2 / 2**30, abs=0.1)
    for model in plan.models.values():
        model.images = 130_000  # more than a task holds: read from their files
    assert estimate_memory(plan, {})[training] == 1.0
    for model in plan.models.values():
        model.images, model.resources = (
            20_000,
            model.resources.model_copy(update={"processes": 4, "nodes": 2}),
        )
    assert estimate_memory(plan, {})[training] == pytest.approx(4 * 20_000 * 3 * 224**2 / 2**30, abs=0.2)
    assert "5.6 GB for training" in memory_text({"models/a": 5.6, "counts/b": 1.0})


def test_launch_files_carry_it_to_the_scheduler(measured: Chain) -> None:
    for run in (*measured.store.runs("models"), *measured.store.runs("counts")):
        assert run.launch()["reckoned_gb"] >= 1.0
