"""Packages of sweeps whose certificates and cascades attacks concern, of the sweep itself and of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from chain import Chain, tiny
from edited import edited
from package_cases import packed
from persons import Person
from persons import persons as persons
from report_cases import make_store

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


def test_a_group_reads_and_tunes_what_one_member_unpacked(
    persons: tuple[Person, Person], tmp_path: Path
) -> None:
    settings = {"n0": 10, "n": 1000, "certificates": ["runner-up"], "radii": [0.0, 0.25], "max_images": 20, "split": "val"}  # fmt: skip
    source, _ = make_store(tmp_path / "source", grid={"sigma": [0.25, 0.5]}, certification=settings, cascade={"levels": [0.25, 0.5], "tau": 0.7})  # fmt: skip
    one, other = (Person(person.user, person.folder, umask=0o077) for person in persons)
    root = one.folder / "shared" / "runs"
    for person in (one, other):
        person.settings(root, shared='store_mode = "group"')
    file = one.folder / "sweep.rsctl"
    file.write_bytes(packed(source, tmp_path / "out").read_bytes())
    file.chmod(0o644)
    assert one.cli("unpack", file).code == 0
    shown = one.cli("export", "sweep", "--format", "csv")
    done = other.cli("export", "sweep", "--format", "csv")
    assert (done.code, done.out) == (0, shown.out), done.err
    done = other.cli("tune", "sweep", "--for", "0.25")
    assert done.code == 0, done.err
    (choice,) = json.loads((root / "sweeps" / "sweep" / "tuned.json").read_text())["choices"]
    marked = one.cli("export", "sweep", "--cascade", ",".join(f"{sigma:g}" for sigma in choice["levels"]), "--tau", f"{choice['taus'][0]:g}")  # fmt: skip
    assert "chosen by these draws" in " ".join(marked.out.split()), marked.err
