"""Attacks and certificates of cascades that are about different classifiers, or guarantee nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_cases import make_store

from rsctl.certificates.cascade import Cascade
from rsctl.config.runs import AttackSpec, CountSpec
from rsctl.results import contradictions
from rsctl.results.contradictions import Contradiction
from rsctl.results.sweep import sweep_results
from rsctl.store.layout import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store", grid={"sigma": [0.25, 0.5]})[0]


def test_an_attack_contradicts_no_cascade_without_a_guarantee(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = sweep_results(store, "sweep", cascade=Cascade((0.25, 0.5), (0.9,))).cascades
    spec = AttackSpec.model_construct(target="cascade")
    attack = replace(row, spec=spec, kind="attacks")
    monkeypatch.setattr(contradictions, "_findings", lambda *_: [attack])
    monkeypatch.setattr(contradictions, "between", lambda claim, attack: [Contradiction(*[0] * 9)])
    assert contradictions.cascade_contradictions(store, [replace(row, failure=None)]) == []
    assert len(contradictions.cascade_contradictions(store, [row])) == 1


def test_an_attack_on_one_precision_contradicts_no_level_of_another(store: Store) -> None:
    (row,) = sweep_results(store, "sweep", cascade=Cascade((0.25, 0.5), (0.9,))).cascades
    radius = float(row.score.max())
    assert radius > 0
    attack = replace(row, kind="attacks", distance=np.full(row.images, radius / 2))
    assert list(contradictions.between(row, attack))
    first, last = row.levels
    assert isinstance(first.spec, CountSpec)
    lower = replace(first, spec=first.spec.model_copy(update={"precision": "bf16"}))
    assert not list(contradictions.between(replace(row, levels=[lower, last]), attack))
