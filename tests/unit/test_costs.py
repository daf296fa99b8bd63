"""Hours and memory of a plan: by the width of the network and the side of the images, measured or carried over and said so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chain import Chain, tiny
from folders import shapes

from rsctl.config.sweep import build_sweep
from rsctl.plan import forward
from rsctl.plan.cost import Cost, estimate, measure
from rsctl.plan.forward import footprints, network
from rsctl.plan.memory import Memory, estimate_memory, memory_text
from rsctl.plan.plan import Plan, make_plan

FEW = {"n0": 20, "n": 100, "max_images": 4, "shards": 1, "tile": 50, "block": 50}

IN_A_PROCESS = forward._measure


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
    footprints({network("cnn", {"width": w}, "imagefolder", {"size": s}) for s, w in others})
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


def test_a_network_is_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(forward, "_measure", IN_A_PROCESS)
    wanted = {network("cnn", {"width": width}, "digits", {}) for width in (4, 16)}
    assert footprints(wanted, only_known=True) == {}
    found = footprints(wanted)
    assert len(found) == 2
    monkeypatch.setattr("subprocess.run", None)
    assert footprints(wanted) == found
    narrow, wide = (found[one] for one in sorted(wanted, key=lambda one: len(one.parameters)))
    assert 8 < wide.flops / narrow.flops < 17
    assert wide.training_fp32 / narrow.training_fp32 == pytest.approx(4, rel=0.2)
    assert wide.training_bf16 < 0.6 * wide.training_fp32
    assert wide.sampling_fp32 < wide.training_fp32


def test_a_network_that_cannot_be_measured_is_reported_and_not_counted(
    measured: Chain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(forward, "_measure", lambda asked: [None] * len(asked))
    unknown = estimate_memory(planned(measured, sweep(16, seed=1)), {})
    assert all(one == Memory(1.0, 0.0, known=False) for one in unknown.values())
    assert "at least 1 GB for training" in memory_text(unknown)
    assert "without networks that aren't measured" in memory_text(unknown)


def test_memory_is_that_of_network_batch_and_images(measured: Chain) -> None:
    plan = planned(measured, sweep(16, seed=1))
    known, unknown = estimate_memory(plan, measure(measured.store)), estimate_memory(plan, {})
    (training,) = (key for key in unknown if key.startswith("models/"))
    assert unknown[training].total == 1.0
    assert 0.3 < known[training].total < 4
    for model in plan.models.values():
        model.images, model.pixels = 20_000, 3 * 224**2
    assert estimate_memory(plan, {})[training].total == pytest.approx(
        2 * 20_000 * 3 * 224**2 / 2**30, abs=0.1
    )
    for model in plan.models.values():
        model.images = 130_000  # more than a task holds: read from their files
    assert estimate_memory(plan, {})[training].total == 1.0
    for model in plan.models.values():
        model.images, model.resources = (
            20_000,
            model.resources.model_copy(update={"processes": 4, "nodes": 2}),
        )
    assert estimate_memory(plan, {})[training].total == pytest.approx(
        4 * 20_000 * 3 * 224**2 / 2**30, abs=0.2
    )


def test_memory_goes_with_the_batch_the_tile_the_passes_and_the_processes(measured: Chain) -> None:
    def of(stage: str, **changes: Any) -> float:
        values = sweep(224)
        training = {**values["training"], "batch_size": changes.pop("batch_size", 16)}
        certification = {**FEW, "tile": changes.pop("tile", 50)}
        values |= {"model": "resnet50", "training": training, "certification": certification, **changes}
        plan = planned(measured, values)
        for model in plan.models.values():
            model.images = 1000
        reckoned = estimate_memory(plan, {})
        return next(one.network for key, one in reckoned.items() if key.startswith(stage))

    # 25.6 M weights of four bytes, and some 87 MB of activations of every image, and a fifth that lies idle between them.
    assert of("models") == pytest.approx(0.4 + 16 * 0.1, rel=0.15)
    assert of("models", batch_size=128) == pytest.approx(0.4 + 128 * 0.1, rel=0.1)
    macer = of("models", batch_size=128, method={"name": "macer", "noises": 4})
    assert macer == pytest.approx(0.4 + 4 * 128 * 0.1, rel=0.1)
    smaller = {"training": {"epochs": 1, "batch_size": 128, "warmup_epochs": 0.0, "noise_steps": "smaller"}}
    assert of("models", method={"name": "macer", "noises": 4}, **smaller) == of("models", batch_size=128)
    assert of("models", batch_size=128, precision={"training": "bf16"}) < 0.6 * of("models", batch_size=128)
    several = {"resources": {"training": {"processes": 4}}}
    assert of("models", batch_size=128, **several) == pytest.approx(
        of("models", batch_size=128) + 3 * 0.4, rel=0.05
    )
    # 11.6 MB of activations of every image, twice.
    assert of("counts", tile=1000) == pytest.approx(0.4 + 1000 * 0.0233, rel=0.15)
    assert of("counts", tile=50) < 1.8


def test_check_names_memory_and_what_of_it_is_a_gpus() -> None:
    found = {
        "models/a": Memory(11.8, 11.2, known=True),
        "counts/b": Memory(1.6, 1.0, known=True),
        "verifications/c": Memory(1.0, 0.0, known=True),
    }
    text = memory_text(found)
    assert text.startswith(
        "about 11.8 GB for training, 1.6 GB for certification, at least 1 GB for verification"
    )
    assert "with a GPU, 11.2 GB and 1.0 GB of it are device memory" in text


def test_launch_files_carry_it_to_the_scheduler(measured: Chain) -> None:
    for run in (*measured.store.runs("models"), *measured.store.runs("counts")):
        assert run.launch()["reckoned_gb"] >= 1.0
