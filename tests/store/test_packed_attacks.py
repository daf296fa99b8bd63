"""Packages of sweeps whose certificates and cascades attacks concern, of the sweep itself and of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from chain import Chain, tiny
from edited import edited
from package_cases import packed

from rsctl.package.unpacking import unpack
from rsctl.package.verifying import verify
from rsctl.report.tables.formats import render
from rsctl.results.sweep import sweep_results
from rsctl.store.layout import Store
from rsctl.store.tables import data_files

ATTACK: dict[str, Any] = {"attack": "ddn", "norm": "l2", "steps": 3, "noises": 4, "n": 400}
SWEEP: dict[str, Any] = {
    "grid": {"sigma": [0.25, 0.5]},
    "training": {"epochs": 8, "warmup_epochs": 0.0},
    "certification": {"n": 400, "max_images": 6, "shards": 1, "certificates": ["runner-up"]},
    "cascade": {"levels": [0.25, 0.5], "tau": 0.6},
}


def _shown(store: Store, sweep: str) -> list[str]:
    results = sweep_results(store, sweep)
    results.notes[:] = [note for note in results.notes if "received in package" not in note]
    return [render(results, form) for form in ("md", "csv", "json")]


def test_what_an_attack_of_another_sweep_contradicts_is_contradicted_in_the_package(
    chain: Chain, tmp_path: Path
) -> None:
    chain.run_all(tiny(**SWEEP))
    chain.run_all(tiny(**SWEEP, name="attacked", attack=[{**ATTACK, "target": "cascade"}, {**ATTACK, "target": "smoothed"}]))  # fmt: skip
    other = Store(tmp_path / "elsewhere")
    file = packed(chain.store, tmp_path / "out", "attacked", weights=True)
    found = verify(file)
    assert found.verified, found.findings
    unpack(file, other)
    assert _shown(other, "attacked") == _shown(chain.store, "attacked")
    assert "Attacks on the cascade" in _shown(other, "attacked")[0]

    for run in chain.store.runs("attacks"):
        (data,) = data_files(run)
        with edited(data) as table:
            table["broken"][:] = np.full(len(table["index"]), 1e-6)
    broken = sweep_results(chain.store, "tiny").broken
    assert {one.certificate for one in broken} == {"runner-up", "cascade"}
    file = packed(chain.store, tmp_path / "out", "tiny", weights=True)
    found = verify(file)
    assert found.verified, found.findings
    second = Store(tmp_path / "second")
    unpack(file, second)
    assert _shown(second, "tiny") == _shown(chain.store, "tiny")
    assert "BROKEN" in _shown(second, "tiny")[0]
