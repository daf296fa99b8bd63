"""An attack that breaks a certificate means a bug: planted, found, and told loudly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain import Chain, tiny
from edited import edited

from rsctl.report.figures.draw import plot
from rsctl.results import contradictions
from rsctl.results.attacks import mean, median, withstands
from rsctl.results.contradictions import (
    Contradiction,
    between,
    describe_contradictions,
    find_contradictions,
)
from rsctl.results.sweep import sweep_results
from rsctl.store.layout import Run
from rsctl.store.tables import data_files, read_findings, read_table

SWEEP: dict[str, Any] = {
    "sigma": 0.25,
    "training": {"epochs": 8, "warmup_epochs": 0.0},
    "certification": {"n": 400, "max_images": 12, "shards": 1, "certificates": ["cohen", "l-bound"]},
    "attack": {"attack": "ddn", "target": "smoothed", "norm": "l2", "steps": 15, "noises": 8, "n": 400},
}


def attacked(chain: Chain, **changes: Any) -> Run:
    """A sweep with one attack, done; the attack's run."""
    chain.run_all(tiny(**{**SWEEP, **changes}))
    (run,) = chain.store.runs("attacks")
    return run


def edit(run: Run, image: int, distance: float) -> None:
    """Write into the table that the attack came this near."""
    (file,) = data_files(run)
    with edited(file) as table:
        table["broken"][int(np.flatnonzero(table["index"][()] == image)[0])] = distance


def breaks(chain: Chain) -> list[Contradiction]:
    return find_contradictions(chain.store, chain.store.sweep("tiny")["entries"])


def test_what_holds_is_not_called_broken_and_distances_stand_beside_the_radii(chain: Chain) -> None:
    run = attacked(chain)
    assert breaks(chain) == []
    results = sweep_results(chain.store, "tiny", radii=[0.0, 0.25, 0.5])
    assert results.broken == []
    (row,) = results.attacked
    cohen = next(row for row in results.rows if row.certificate == "cohen")
    assert cohen.cells[1].certified > 2
    for cell in cohen.cells:
        assert withstands(row, cell.radius) >= cell.accuracy
    distance = np.sort(read_findings(run).rows.upper)
    right = distance[distance > 0]
    assert median(row) == right[(len(right) - 1) // 2]
    assert mean(row) == pytest.approx(right[np.isfinite(right)].mean())
    assert withstands(row, 0.0) == (distance > 0).mean()
    shown = chain.cli("export", "tiny")
    assert shown.code == 0
    assert "Attacks on the smoothed classifier g, digits test" in shown.out
    # It holds image by image: a row of other images may well stand higher.
    assert "certified accuracy of that classifier on the same images" in " ".join(shown.out.split())
    assert f"{median(row):.4f}" in shown.out
    assert "ddn, 8 noises" in shown.out
    values = json.loads(chain.cli("export", "tiny", "--format", "json").out)
    assert values["attacks"][0]["median"] == median(row)
    assert "broken" not in values
    assert "ddn, 8 noises" in chain.cli("export", "tiny", "--format", "latex").out
    figure = chain.folder / "curve.svg"
    assert any(
        note.startswith("Dotted: share of images for which the attack found no")
        for note in plot(chain.store, "tiny", figure)
    )
    assert "under attack by ddn" in figure.read_text()


def test_a_planted_bug_is_told_loudly(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    run = attacked(chain)
    # A certificate that doubles its radius.
    from rsctl.certificates import cohen

    with monkeypatch.context() as patched:
        honest = cohen.gaussian_radius
        patched.setattr(cohen, "gaussian_radius", lambda p, sigma: 2.5 * honest(p, sigma))
        found = breaks(chain)
        assert found
        assert {one.certificate for one in found} == {"cohen"}
        assert all(one.distance < one.radius for one in found)
        (row, _) = sweep_results(chain.store, "tiny").rows
        assert f"BROKEN certificates={len(found)}" in row.label
    assert breaks(chain) == []

    # An attack that came nearer than it can.
    table = read_table(chain.counts_run())
    image = next(
        int(i)
        for i, c, y in zip(table.rows.index, table.rows.counts, table.rows.label, strict=True)
        if c[y] > 380
    )
    edit(run, image, 0.01)
    (one,) = breaks(chain)
    assert one.image == image
    assert f"image {image}: certified 0." in str(one)
    assert "adversarial image at l2 distance 0.01" in str(one)
    assert one.chance == pytest.approx(0.002)
    told = describe_contradictions([one])
    assert "By chance alone" in told[-1]
    shown = chain.cli("export", "tiny")
    assert shown.code == 1
    assert "BROKEN CERTIFICATE" in shown.err
    assert "this is a bug, report it" in shown.out  # among the notes
    assert "BROKEN certificates=1" in shown.out
    status = chain.cli("status", "tiny", "--json")
    assert status.code == 0
    assert json.loads(status.out)
    assert "BROKEN CERTIFICATE" in status.err


def test_only_what_speaks_of_the_same_thing_is_compared(chain: Chain, tmp_path: Path) -> None:
    run = attacked(chain)
    table = read_table(chain.counts_run())
    for image in table.rows.index:
        edit(run, int(image), 1e-6)
    many = breaks(chain)
    right = (table.rows.counts.argmax(axis=1) == table.rows.label).sum()
    assert 3 <= len(many) <= right  # an image that is certified for another class isn't broken
    assert {one.certificate for one in many} == {"cohen"}  # l-bound is a heuristic
    assert len(describe_contradictions(many)) <= 7

    model = run.table_spec.model_run
    (attack,) = contradictions._findings(chain.store, "attacks", model)
    claims = list(contradictions._certified(chain.counts_run(), None))
    assert claims
    assert any(list(between(claim, attack)) for claim in claims)
    spec = attack.table_spec
    others = [replace(attack, norm="linf"), replace(attack, checkpoint="another")]
    others += [
        replace(attack, spec=spec.model_copy(update=change))
        for change in ({"sigma": 0.0}, {"sigma": 0.5}, {"precision": "bf16"}, {"split": "val"})
    ]
    for other in others:
        assert all(list(between(claim, other)) == [] for claim in claims)
    exact = Run(chain.counts_run().path)
    exact.__dict__["spec"] = exact.count_spec.model_copy(update={"arithmetic": "exact"})
    exact.__dict__["table_spec"] = exact.__dict__["count_spec"] = exact.spec
    assert all(list(between(claim, attack)) == [] for claim in contradictions._certified(exact, None))
    top5 = replace(attack, k=5)
    assert any(list(between(claim, top5)) for claim in claims)
    for claim in claims:
        best5 = replace(claim, k=5)
        assert list(between(best5, attack)) == []  # another class may be among the best five


def test_an_attack_of_another_sweep_counts_and_a_verifier_answers_to_attacks_on_the_network(
    chain: Chain,
) -> None:
    values = tiny(**{key: value for key, value in SWEEP.items() if key != "attack"})
    chain.run_all(values)
    alone = {**values, "name": "alone", "certification": {**values["certification"], "certificates": []}}
    chain.run_all({**alone, "attack": {"attack": "ddn", "norm": "l2", "steps": 5, "target": "base"},
                   "verification": {"verifier": "ibp", "norm": "linf"}})  # fmt: skip
    (run,) = chain.store.runs("attacks")
    table = read_table(chain.counts_run())
    edit(run, int(table.rows.index[0]), 1e-9)
    assert breaks(chain) == []  # the network itself isn't what was certified by sampling
    model = run.spec.model_run
    proofs = list(contradictions._findings(chain.store, "verifications", model))
    (attack,) = contradictions._findings(chain.store, "attacks", model)
    assert proofs
    index = proofs[0].index
    near = replace(attack, norm="linf", index=index, distance=np.full(len(index), 1e-12))
    broke = list(between(proofs[0], near))
    assert len(broke) == (proofs[0].score > 1e-12).sum()
    assert broke
    assert broke[0].chance == 0
    assert "By chance" not in " ".join(describe_contradictions(broke))
