"""Content hashes: everything that is computed counts, nothing about where, how fast or how it is judged."""

from __future__ import annotations

from typing import Any

import pytest
from chain import Chain, tiny
from pydantic import Field

from rsctl.catalog import known_methods, known_models
from rsctl.catalog.declare import Parameters
from rsctl.catalog.recipe import Recipe
from rsctl.config.identity import completed, content_hash, identity
from rsctl.config.resolve import Resolved
from rsctl.config.runs import CountSpec, TrainSpec, parse_spec
from rsctl.config.sweep import build_sweep

# Of the tiny sweep and of Cohen's CIFAR-10 training, as first released: whatever is added, these stay.
GOLDEN = {
    "tiny train": "c9a5731c1ddc43c9",
    "tiny count": "7dbc77c57daf440a",
    "cohen train": "4672c0688f9643e4",
    "cohen count": "e4afee63610d4172",
}


# Of the tiny sweep with another method, and of that method on CIFAR-10: what a method is given later, stays out of these.
METHODS = {
    "heat": ("4afa2496fc0cd938",),
    "macer": ("6b2a34942c98506c", "31f290b653215009"),
    "consistency": ("7dc8958fa1829b51", "dc71acbf5411468a"),
    "smoothadv": ("fa0282f49aa3b21e", "71cf96f01376c428"),
}


def resolved(chain: Chain, **changes: Any) -> Resolved:
    sweep = build_sweep(tiny(**changes), "sweep.toml", chain.place.data)
    return sweep.points[0]


def cohen(chain: Chain, method: str = "gaussian") -> Resolved:
    raw = {"name": "c", "dataset": "cifar10", "model": "resnet110", "method": method, "sigma": 0.25}
    return build_sweep(raw, "sweep.toml", chain.place.data).points[0]


def test_hashes_of_yesterday_hold(chain: Chain) -> None:
    ours, theirs = resolved(chain), cohen(chain)
    assert {
        "tiny train": ours.train.hash[:16],
        "tiny count": ours.count.hash[:16],
        "cohen train": theirs.train.hash[:16],
        "cohen count": theirs.count.hash[:16],
    } == GOLDEN


def test_what_margins_and_distance_networks_were_given_later_is_neutral() -> None:
    """Their method's revision is another, so that its hashes say nothing."""
    margins = known_methods()["lipschitz-margin"].parameters()
    assert set(identity(margins)) == {
        "norm",
        "radius",
        "radius_epochs",
        "hinge",
        "p_start",
        "p_end",
        "p_epochs",
    }
    assert identity(known_models()["linf-distance"].parameters()) == {"widths": [128, 128]}
    assert identity(known_methods()["lipschitz-margin"].parameters(p_hold=1.0))["p_hold"] == 1.0
    assert identity(known_models()["linf-distance"].parameters(initial="identity"))["initial"] == "identity"


@pytest.mark.parametrize(
    ("name", "before", "now"),
    [
        ("ibp", "2bdc89c18290356d", "7110ddc17a918bf8"),
        ("crown-ibp", "6b34ed208917859b", "62cde6b693e675a2"),
        ("lipschitz-margin", "9733fc307e3d0663", "d5856e39155f2982"),
    ],
)
def test_what_is_computed_otherwise_since_is_another_run(
    chain: Chain, name: str, before: str, now: str
) -> None:
    """Bounds without an allowance for rounding; means over all processes."""
    assert resolved(chain, method=name).train.hash[:16] == now != before


@pytest.mark.parametrize("name", sorted(METHODS))
def test_hashes_of_methods_hold(chain: Chain, name: str) -> None:
    mine = resolved(chain, method={"name": name}), cohen(chain, name)
    assert [one.train.hash[:16] for one in mine[: len(METHODS[name])]] == [*METHODS[name]]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"description": "words"},
        {"cluster": "two"},
        {"certification": {"alpha": 0.05}},
        {"certification": {"certificates": ["cohen"]}},
        {"certification": {"shards": 7}},
        {"certification": {"max_images": 9, "skip": 3}},
        {"certification": {"radii": [0.0, 3.0]}},
        {"resources": {"training": {"threads": 3}, "certification": {"threads": 2, "processes": 2, "workers": 1}}},
        {"sigma": 0.50},
        {"training": {"epochs": 2, "weight_decay": 2e-3}},
        {"training": {"step_shift": 0, "exponent_warmup": 0}},
    ],
    ids=str,
)  # fmt: skip
def test_what_computes_nothing_else_changes_no_hash(chain: Chain, change: dict[str, Any]) -> None:
    one, other = resolved(chain), resolved(chain, **change)
    assert one.train.hash == other.train.hash
    assert one.count.hash == other.count.hash
    assert one.train.run_id == other.train.run_id
    assert one.count.run_id == other.count.run_id


@pytest.mark.parametrize(
    "change",
    [
        {"sigma": 0.25},
        {"seed": 1},
        {"model": {"width": 5}},
        {"model": {"name": "resnet20"}},
        {"precision": {"training": "bf16"}},
        {"certification": {"split": "val"}},
        *(
            {"training": {name: value}}
            for name, value in {
                "epochs": 3, "batch_size": 32, "optimizer": "adam", "lr": 0.01, "momentum": 0.8, "nesterov": True,
                "weight_decay": 0.0, "schedule": "step", "step_epochs": 7, "step_factor": 0.2, "warmup_epochs": 1.0,
                "label_smoothing": 0.1, "gradient_clip": 1.0, "augment": False, "mirror": False, "crop_padding": 2,
                "milestones": [1.0], "step_shift": 1, "cycle_epochs": 1, "noise_steps": "smaller", "normalisation": "none",
                "hold_epochs": 1.0,
            }.items()
        ),
        {"exponent": 4, "certification": {"certificates": ["dsrs"]}, "training": {"exponent_warmup": 1}},
    ],
    ids=str,
)  # fmt: skip
def test_everything_a_training_computes_changes_its_hash_and_that_of_its_counts(
    chain: Chain, change: dict[str, Any]
) -> None:
    if "model" in change and "name" in change["model"]:
        change = {"model": "resnet20"}
    one, other = resolved(chain), resolved(chain, **change)
    assert one.train.hash != other.train.hash
    assert one.count.hash != other.count.hash


def test_every_field_of_the_recipe_is_tried_above() -> None:
    tried = {
        name
        for mark in test_everything_a_training_computes_changes_its_hash_and_that_of_its_counts.pytestmark
        for case in mark.args[1]
        for name in case.get("training", {})
    }
    assert tried == set(Recipe.model_fields)


@pytest.mark.parametrize(
    "change",
    [{"n": 300}, {"n0": 60}, {"seed": 1}, {"sigma": 0.25}, {"tile": 150}, {"block": 25}, {"split": "val"}],
    ids=str,
)
def test_everything_a_sampling_computes_changes_its_hash(chain: Chain, change: dict[str, Any]) -> None:
    one, other = resolved(chain), resolved(chain, certification=change)
    assert one.count.hash != other.count.hash
    assert (one.train.hash == other.train.hash) == ("split" not in change)
    bf16 = resolved(chain, precision={"certification": "bf16"})
    assert one.count.hash != bf16.count.hash
    assert one.train.hash == bf16.train.hash


def test_the_place_of_a_folder_is_no_identity_but_its_content_is(chain: Chain) -> None:
    from PIL import Image

    for place in ("here", "there"):
        for split in ("train", "test"):
            for name in ("cat", "dog"):
                folder = chain.folder / place / split / name
                folder.mkdir(parents=True)
                Image.new("RGB", (8, 8)).save(folder / "1.png")
    one = resolved(chain, dataset={"name": "imagefolder", "path": str(chain.folder / "here"), "size": 8})
    other = resolved(chain, dataset={"name": "imagefolder", "path": str(chain.folder / "there"), "size": 8})
    assert one.count.hash == other.count.hash
    Image.new("RGB", (8, 8)).save(chain.folder / "there" / "train" / "cat" / "2.png")
    third = resolved(chain, dataset={"name": "imagefolder", "path": str(chain.folder / "there"), "size": 8})
    assert third.train.hash != one.train.hash
    assert resolved(chain, dataset={"name": "imagefolder", "path": str(chain.folder / "here"), "size": 16}).train.hash != one.train.hash  # fmt: skip


def test_a_field_added_with_its_neutral_value_changes_no_old_hash(chain: Chain) -> None:
    class Later(TrainSpec):
        ema: float = Field(default=0.0, json_schema_extra={"neutral": 0.0})

    train = resolved(chain).train
    values = train.model_dump()
    old = {"kind": "TrainSpec", **identity(train)}
    assert content_hash({"kind": "TrainSpec", **identity(Later(**values))}) == content_hash(old) == train.hash
    assert content_hash({"kind": "TrainSpec", **identity(Later(**values, ema=0.9))}) != train.hash


def test_a_hyperparameter_added_with_its_neutral_value_changes_no_old_hash_and_reaches_the_loss() -> None:
    class Before(Parameters):
        width: int = 4

    class After(Before):
        depth: int = Field(default=9, json_schema_extra={"neutral": 3})

    stored = identity(Before())
    assert identity(After(depth=3)) == stored
    assert identity(After()) == {"width": 4, "depth": 9}
    assert completed(After, stored) == {"width": 4, "depth": 3}
    assert completed(After, identity(After())) == {"width": 4, "depth": 9}


def test_a_spec_survives_its_file(chain: Chain) -> None:
    one = resolved(chain)
    for spec in (one.train, one.count):
        again = parse_spec(spec.model_dump(mode="json"))
        assert again == spec
        assert again.hash == spec.hash
        assert isinstance(again, TrainSpec | CountSpec)


def test_whole_numbers_and_fractions_of_one_value_are_one_run(chain: Chain) -> None:
    assert resolved(chain, sigma=1).train.hash == resolved(chain, sigma=1.0).train.hash
