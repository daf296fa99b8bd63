"""Some rows of a sweep: those of a method, or at a noise level."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_cases import make_store

from rsctl.errors import InputError
from rsctl.report.figures.draw import plot
from rsctl.report.radius_logs.export_logs import export_logs
from rsctl.report.radius_logs.import_logs import GivenFacts, import_logs
from rsctl.results.row_filter import RowFilter
from rsctl.results.sweep import sweep_results
from rsctl.store.layout import Store

LOG = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t5\t5\t0.5\t1\t1\n1\t5\t4\t0.5\t0\t1\n"
METHODS = [{"name": "gaussian"}, {"name": "macer"}]


def shown(store: Store, only: RowFilter | None = None) -> tuple[list[tuple[str, float]], list[str]]:
    results = sweep_results(store, "sweep", only=only)
    return [(row.method, row.sigma) for row in results.every], [
        note for note in results.notes if note.startswith("left out")
    ]


def test_rows_are_chosen_and_the_others_are_told(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path, method=METHODS, grid={"sigma": [0.25, 0.5]})
    log = tmp_path / "sodm_sigma_0.5.tsv"
    log.write_text(LOG)
    import_logs(store, "sweep", [log], GivenFacts(dataset="digits", model="cnn", method="sodm"))
    every, notes = shown(store)
    assert (len(every), notes) == (5, [])
    assert shown(store, RowFilter()) == (every, [])
    assert shown(store, RowFilter(sigmas=[0.5])) == (
        [("gaussian", 0.5), ("macer", 0.5), ("sodm", 0.5)],
        ["left out: 2 runs of the sweep; only those of σ 0.5 were requested."],
    )
    assert shown(store, RowFilter(["macer", "sodm"], [0.5])) == (
        [("macer", 0.5), ("sodm", 0.5)],
        ["left out: 3 runs of the sweep; only those of macer or sodm at σ 0.5 were requested."],
    )
    written, _ = export_logs(store, "sweep", tmp_path / "logs", only=RowFilter(["gaussian"], [0.25]))
    assert [file.name.partition("-")[0] for file in written] == ["gaussian"]
    notes = plot(store, "sweep", tmp_path / "a.svg", only=RowFilter(["gaussian"]))
    assert "left out: 3 runs of the sweep; only those of gaussian were requested." in notes


@pytest.mark.parametrize(
    ("only", "said"),
    [
        (RowFilter(["macr"]), "--method: unknown method 'macr'. Did you mean 'macer'?"),
        (RowFilter(sigmas=[1.0]), "--sigma: no run has σ = 1. Available: 0.25, 0.5."),
        (RowFilter(["macer"], [0.5]), "no run has macer at σ 0.5"),
    ],
)
def test_a_choice_that_is_not_there_is_explained(tmp_path: Path, only: RowFilter, said: str) -> None:
    levels = [
        {"name": "gaussian", "grid": {"sigma": [0.25, 0.5]}},
        {"name": "macer", "grid": {"sigma": [0.25]}},
    ]
    store, _ = make_store(tmp_path, method=levels, counts=False)
    with pytest.raises(InputError) as raised:
        sweep_results(store, "sweep", only=only)
    assert said in str(raised.value)
