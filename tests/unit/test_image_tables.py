"""`[[verification]]` and `[[attack]]`: what a sweep file may say, and what becomes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chain import Chain, tiny

from rsctl.cli.app import run
from rsctl.config.runs import AttackSpec, VerifySpec
from rsctl.config.sections import Certification
from rsctl.config.sweep import build_sweep
from rsctl.errors import InputError
from rsctl.plan.columns import LINF
from rsctl.plan.cost import Cost
from rsctl.plan.plan import make_plan


def planned(tmp_path: Path, **changes: Any) -> Any:
    return make_plan(build_sweep(tiny(**changes), "sweep.toml", tmp_path), "sweep.toml")


def problem(tmp_path: Path, **changes: Any) -> str:
    with pytest.raises(InputError) as raised:
        planned(tmp_path, **changes)
    return str(raised.value)


def test_a_model_trained_without_noise_needs_no_sampling_when_it_is_verified(tmp_path: Path) -> None:
    plan = planned(tmp_path, sigma=0.0, verification={"verifier": "ibp", "radii": ["2/255", 0.1]})
    (table,) = plan.tables.values()
    assert isinstance(table.spec, VerifySpec)
    assert table.spec.radii == [2 / 255, 0.1]
    assert table.spec.norm == "linf"
    assert "certification.sigma" in problem(tmp_path, sigma=0.0)


def test_every_table_takes_the_first_images_of_one_order(tmp_path: Path) -> None:
    plan = planned(
        tmp_path,
        verification=[{"verifier": "ibp", "max_images": 5}, {"verifier": "crown", "shards": 1}],
        attack=[{"attack": "ddn", "max_images": 0}],
    )
    images = {key.partition("/")[0]: table.images for key, table in plan.tables.items()}
    counts, few, many, attacked = (table.images for table in plan.tables.values())
    assert len(images) == 3
    assert few == counts[:5]
    assert many == counts
    assert attacked[:20] == counts
    assert len(attacked) == 360
    assert [table.shards for table in plan.tables.values()] == [2, 2, 1, 2]


def test_an_attack_on_the_smoothed_classifier_takes_its_noise(tmp_path: Path) -> None:
    plan = planned(tmp_path, attack=[{"attack": "pgd"}, {"attack": "pgd", "target": "smoothed", "noises": 4}])
    base, smoothed = [table.spec for table in plan.tables.values() if isinstance(table.spec, AttackSpec)]
    assert (base.sigma, base.noises, base.n) == (0.0, 0, 0)
    assert (smoothed.sigma, smoothed.noises, smoothed.n) == (0.5, 4, 1000)
    assert base.run_id != smoothed.run_id


def test_what_only_says_how_fast_changes_no_name(tmp_path: Path) -> None:
    one, other = (planned(tmp_path, verification=[{"verifier": "ibp", "batch": batch}]) for batch in (8, 16))
    assert [*one.tables] == [*other.tables]
    assert [list(plan.tables.values())[1].launch["parameters"]["batch"] for plan in (one, other)] == [8, 16]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"verification": {"verifier": "ipb"}},
            "verification.0.verifier: unknown verifier 'ipb'. Did you mean 'ibp'?",
        ),
        ({"verification": {}}, "verification.0.verifier: is required"),
        ({"verification": {"verifier": "ibp", "norm": "l2"}}, "ibp supports linf, not 'l2'"),
        ({"verification": {"verifier": "ibp", "radii": ["2/0"]}}, "a fraction such as '2/255'"),
        ({"verification": {"verifier": "ibp", "raddi": [1.0]}}, "Did you mean 'radii'?"),
        ({"attack": {"attack": "ddn", "target": "smooth"}}, "attack.0.target"),
        ({"attack": {"attack": "ddn", "target": "smoothed"}, "sigma": 0.0}, "needs Gaussian noise"),
    ],
)
def test_errors_name_the_key(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in problem(tmp_path, **changes)


def test_a_table_that_stands_twice_is_a_problem_at_the_second(tmp_path: Path) -> None:
    ddn = {"attack": "ddn"}
    other = {**ddn, "target": "smoothed"}
    said = problem(tmp_path, attack=[other, ddn, {**ddn, "target": "base"}])
    assert "attack.2.attack: equals the second [[attack]]" in said
    ibp = {"verifier": "ibp"}
    assert "equals the first [[verification]]" in problem(tmp_path, verification=[ibp, ibp], attack=ddn)
    planned(tmp_path, attack=[ddn, other, {**ddn, "max_images": 5}])


def test_a_sweep_of_before_there_were_other_tables_is_read(chain: Chain) -> None:
    chain.plan(tiny())
    file = chain.store.sweep_folder("tiny") / "plan.json"
    plan = json.loads(file.read_text())
    (entry,) = plan["entries"]
    run, kind = entry.pop("run"), entry.pop("kind")
    file.write_text(json.dumps({**plan, "entries": [{**entry, "counts": run}]}))
    (read,) = chain.store.sweep("tiny")["entries"]
    assert (read.run, read.kind) == (run, kind) == (chain.counts_run().id, "counts")


@pytest.mark.parametrize(
    ("changes", "norm", "expected"),
    [
        ({}, "linf", LINF),
        ({}, "l2", Certification().radii),
        ({"certification": {"radii": [0.0, 0.5]}}, "l2", [0.0, 0.5]),
        # The radii of ℓ2 certificates say nothing of ℓ∞; those of the verifications do.
        ({"certification": {"radii": [0.0, 0.5]}}, "linf", LINF),
        ({"verification": [{"verifier": "ibp", "radii": [0.1]}, {"verifier": "crown", "radii": ["2/255"]}]}, "linf", [2 / 255, 0.1]),
        ({"certification": {"radii": [0.0, 0.01], "certificates": ["cohen-linf"]}}, "linf", [0.0, 0.01]),
        ({"certification": {"radii": [0.0, 0.01], "certificates": []}}, "linf", [0.0, 0.01]),
    ],
)  # fmt: skip
def test_the_columns_of_an_attack_are_radii_of_its_norm(
    chain: Chain, changes: dict[str, Any], norm: str, expected: list[float]
) -> None:
    chain.plan(tiny(**changes, attack={"attack": "pgd", "norm": norm}))
    attacks = [entry for entry in chain.store.sweep("tiny")["entries"] if entry.kind == "attacks"]
    assert [entry.radii for entry in attacks] == [expected]


def test_a_search_for_the_largest_radius_has_columns_of_its_norm(chain: Chain) -> None:
    chain.plan(tiny(verification=[{"verifier": "ibp"}, {"verifier": "crown", "radii": [0.1, 0.05]}]))
    counts, largest, asked = (entry.radii for entry in chain.store.sweep("tiny")["entries"])
    assert (counts, largest, asked) == ([0.0, 0.25, 0.5, 0.75], [0.05, 0.1], [0.1, 0.05])
    chain.plan(tiny(verification={"verifier": "ibp"}), update=True)
    assert chain.store.sweep("tiny")["entries"][1].radii == LINF


def test_one_is_said_as_one_and_the_time_as_a_person_says_it(chain: Chain, capsys: Any) -> None:
    chain.plan(tiny(certification={"max_images": 1}))
    file = chain.file(tiny(certification={"max_images": 1}))
    assert run(["check", str(file)]) == 0
    said = capsys.readouterr().out
    assert "1 point → 1 model, 1 table." in said
    assert "certify  1 task, 1 image, 250 draws" in said
    assert Cost(0.0002, ("cpu",), ()).text == "1 s on cpu"
    assert Cost(2.5, ("cpu",), ()).text == "2 h 30 on cpu"
