"""Sequential tables: who stops when, what is stored of it, and that an interruption changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain import Chain, StopsAfter, tiny

from rsctl.certificates import find_certificate
from rsctl.certificates.stopping import CertifyAtRadii
from rsctl.config.sweep import build_sweep
from rsctl.config.validate import Invalid
from rsctl.errors import RefusedError
from rsctl.plan.plan import make_plan
from rsctl.store.files import replace
from rsctl.store.tables import StoredTable, read_table
from rsctl.store.task_context import Stopped

RULE = {
    "n": 1000, "tile": 200, "block": 50, "stopping": "certify-at-radii", "stop_radii": [0.1],
    "certificates": ["sequential"], "max_images": 12,
}  # fmt: skip


def sampled(chain: Chain, model: Path | None, **certification: Any) -> StoredTable:
    committed = chain.plan(tiny(certification={**RULE, **certification}))
    for request in committed.requests:
        if request.task.run.kind == "models" and model is not None:
            replace(request.task.run.model_file, model.read_bytes())
        else:
            chain.run(request.task)
    return read_table(chain.counts_run())


def same(one: StoredTable, other: StoredTable) -> None:
    for name in ("index", "selection_counts", "counts", "n"):
        assert np.array_equal(getattr(one.rows, name), getattr(other.rows, name)), name
    for name in ("counts", "draws"):
        assert np.array_equal(one.rows.extras["looks"][name], other.rows.extras["looks"][name]), name


def test_every_image_stops_where_the_rule_says_and_not_before(chain: Chain) -> None:
    table = sampled(chain, None)
    rows, looks = table.rows, table.counts().looks
    assert looks is not None
    rule = CertifyAtRadii((0.1,), 0.5, 0.001, 1000, 50)
    assert (rule.draws % 50 == 0).all()
    assert np.array_equal(looks.draws, rule.draws)
    assert len(set(rows.n.tolist())) > 1, "all images stopped at the same look: the rule was never asked"
    chosen = rows.selection_counts.argmax(axis=1)
    for row, drawn in enumerate(rows.n):
        taken = int((rule.draws <= drawn).sum())
        successes = looks.counts[row, :taken, chosen[row]][None]
        assert not rule.undecided(successes)[0]
        for before in range(1, taken):
            assert rule.undecided(successes[:, :before])[0], (row, before)


def test_stopping_at_any_tile_and_going_on_gives_the_same_table(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.certify import count

    first = sampled(chain, None, shards=1)
    (run,) = chain.store.runs("models")
    model = run.model_file
    for tile in (0, 1, 2, 4, 7):
        monkeypatch.setenv("RSCTL_STORE", str(tmp_path / f"stop-{tile}"))
        committed = chain.plan(tiny(certification={**RULE, "shards": 1}))
        replace(committed.requests[0].task.run.model_file, model.read_bytes())
        task = committed.requests[1].task
        stopped = chain.work(task, StopsAfter)
        stopped.tiles = tile
        with pytest.raises(Stopped):
            count.main(stopped)
        chain.run(task)
        same(first, read_table(task.run))
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "shards"))
    same(first, sampled(chain, model, shards=5))


def test_a_fixed_n_certificate_refuses_the_table(chain: Chain) -> None:
    table = sampled(chain, None).counts()
    find_certificate("sequential").certify(table, 0.001)
    with pytest.raises(RefusedError, match="fixed n"):
        find_certificate("cohen").certify(table, 0.001)


def test_a_certificate_that_would_refuse_is_named_before_a_draw(chain: Chain) -> None:
    values = tiny(certification={**RULE, "certificates": ["cohen"]})
    with pytest.raises(Invalid, match=r"certification\.certificates: cohen needs a table of a fixed n"):
        make_plan(build_sweep(values, "sweep.toml", chain.place.data), "sweep.toml")
    fixed = tiny(certification={"certificates": ["sequential"]})
    with pytest.raises(Invalid, match="sequential"):
        make_plan(build_sweep(fixed, "sweep.toml", chain.place.data), "sweep.toml")
