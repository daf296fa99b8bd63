"""Cascades of a sweep's runs: from stored counts to every format, comparison and notebook, with their label."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from chain import Chain, tiny
from report_cases import CLASSES, N, make_store, write_counts

from rsctl import completion
from rsctl.certificates import Certified, CountTable
from rsctl.certificates.cascade import Cascade
from rsctl.cli.app import run as rsctl
from rsctl.config.cascades import split_id
from rsctl.errors import InputError, RefusedError
from rsctl.report.figures.line_styles import label
from rsctl.report.figures.series import collect, hours_of
from rsctl.report.figures.titles import titles
from rsctl.report.radius_logs.export_logs import export_logs
from rsctl.report.radius_logs.import_logs import GivenFacts, import_logs
from rsctl.report.tables.formats import FORMATS, render
from rsctl.results import open as open_results
from rsctl.results.cascade import measure_cascade
from rsctl.results.notebook import RunResults, SweepResults
from rsctl.results.opening import measure_run, open_run
from rsctl.results.row_filter import RowFilter
from rsctl.results.sweep import Results, sweep_results
from rsctl.store.layout import Run, Store
from rsctl.store.tables import data_files

TWO = Cascade((0.25, 0.5), (0.7,))
LABEL = "of the cascade of σ = 0.25 → 0.5 (τ = 0.7)"


def arrays(run: Run) -> dict[str, Any]:
    """The columns of a run's files, in ascending order of the images, without rsctl's readers."""
    found: dict[str, list[Any]] = {}
    for path in data_files(run):
        with h5py.File(path) as file:
            for name in ("index", "label", "selection_counts", "counts", "n"):
                found.setdefault(name, []).append(file[name][()])
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    return {name: column[np.argsort(joined["index"])] for name, column in joined.items()}


def by_hand(runs: list[Run], sigmas: tuple[float, ...], taus: tuple[float, ...], alpha: float = 0.001) -> tuple[Any, Certified]:  # fmt: skip
    """Images that all runs have, and their certificates."""
    every = [arrays(run) for run in runs]
    common = set(every[0]["index"]).intersection(*(one["index"] for one in every))
    kept = [
        {name: column[[i in common for i in one["index"]]] for name, column in one.items()} for one in every
    ]
    tables = [
        CountTable(one["selection_counts"], one["counts"], one["n"], sigma, 64)
        for one, sigma in zip(kept, sigmas, strict=True)
    ]
    return kept[0], Cascade(sigmas, taus).certify(tables, alpha)


def of_levels(store: Store, *sigmas: float) -> list[Run]:
    return [next(run for run in store.runs("counts") if run.count_spec.sigma == sigma) for sigma in sigmas]


def json_of(results: Results) -> Any:
    return json.loads(render(results, "json"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Made-up counts of three levels; the same images decide differently at each."""
    found, _ = make_store(tmp_path / "store", grid={"sigma": [0.25, 0.5, 1.0]})
    return found


def test_a_trained_sweep_from_its_files_to_every_format(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    chain.run_all(
        tiny(
            grid={"sigma": [0.25, 0.5]},
            training={"epochs": 4},
            certification={"max_images": 12, "n": 200, "shards": 1, "radii": [0.0, 0.2]},
        )
    )
    levels = of_levels(chain.store, 0.25, 0.5)
    images, found = by_hand(levels, (0.25, 0.5), (0.7,))
    right = found.predicted == images["label"]
    assert right.any()
    options = ["tiny", "--cascade", "0.25,0.5", "--tau", "0.7"]
    capsys.readouterr()
    assert rsctl(["export", *options, "--format", "json"]) == 0
    rows = [row for row in json.loads(capsys.readouterr().out)["rows"] if row["certificate"] == "cascade"]
    assert [row["certified_accuracy"] for row in rows] == [
        (right & (found.radius >= r)).mean() for r in (0.0, 0.2)
    ]
    (row, _) = rows
    assert row["acr"] == pytest.approx(np.where(right, found.radius, 0).mean())
    assert (row["abstain_rate"], row["cap_share"]) == ((found.predicted == -1).mean(), found.at_cap.mean())
    assert (row["mean_draws"], row["n"], row["sigma"], row["clean_accuracy"]) == (400, 200, None, None)
    assert LABEL in row["guarantee"]
    for form in FORMATS:
        assert rsctl(["export", *options, "--format", form]) == 0
        text = capsys.readouterr().out
        assert "cascade of $\\sigma$ = 0.25 $\\to$ 0.5 ($\\tau$ = 0.7)" in text or LABEL in " ".join(
            text.split()
        ).replace("\\u03c3", "σ").replace("\\u2192", "→").replace("\\u03c4", "τ")
    for kind in ("curve", "families", "hours", "classes", "ecdf", "envelope"):
        assert rsctl(["plot", *options, "-o", f"{kind}.png", "--kind", kind]) == 0
    ours = open_results(chain.store.sweep_folder("tiny"))
    assert isinstance(ours, SweepResults)
    (one,) = ours.cascade([0.25, 0.5], tau=0.7)
    assert isinstance(one, RunResults)
    assert (one.predicted == found.predicted).all()
    assert (one.radius == found.radius).all()
    with pytest.raises(InputError, match="has the counts of its levels"):
        one.certify("cohen", 0.01)
    assert hours_of(chain.store, one.about) == pytest.approx(
        sum(hours_of(chain.store, level) for level in one.about.levels)
    )
    capsys.readouterr()
    assert rsctl(["compare", f"{levels[0].id}@0.7+{levels[1].id}", levels[1].id, "--json"]) == 0
    compared = json.loads(capsys.readouterr().out)
    alone = measure_run(levels[1]).score
    ours_at, its_at = np.where(right, found.radius, -1.0) >= 0, alone >= 0
    assert compared["radii"][0]["only_first"] == (ours_at & ~its_at).sum()
    assert compared["radii"][0]["only_second"] == (its_at & ~ours_at).sum()
    assert not compared["one_model"]
    assert any(LABEL in note for note in compared["warnings"])


def test_three_levels_with_a_threshold_each(store: Store) -> None:
    cascade = Cascade((0.25, 0.5, 1.0), (0.9, 0.6))
    images, found = by_hand(of_levels(store, *cascade.sigmas), cascade.sigmas, cascade.taus, 0.01)
    results = sweep_results(store, "sweep", cascade=cascade, alpha=0.01)
    (row,) = results.cascades
    assert (row.index == images["index"]).all()
    assert (row.certified.radius == found.radius).all()
    assert (row.certified.predicted == found.predicted).all()
    assert 0 < (found.predicted == -1).sum() < len(found.predicted)
    assert row.mean_draws == 3 * N
    assert (row.alpha, row.failure) == (0.01, 0.01)
    assert "0.99 per image, of the cascade of σ = 0.25 → 0.5 → 1 (τ = 0.9, 0.6)" in row.guarantee
    assert {one.sigma for one in results.rows} == {0.25, 0.5, 1.0}
    (turned,) = sweep_results(store, "sweep", cascade=Cascade((1.0, 0.5, 0.25), (0.9, 0.6))).cascades
    assert (turned.certified.radius != found.radius).any(), "the order of the levels matters"


def test_only_the_levels_stand_beside_a_cascade(store: Store) -> None:
    results = sweep_results(store, "sweep", cascade=TWO)
    assert [row.sigma for row in results.rows] == [0.25, 0.5]
    assert any("left out: 1 run" in note for note in results.notes)
    more = sweep_results(store, "sweep", cascade=TWO, only=RowFilter(sigmas=[1.0]))
    assert [row.sigma for row in more.rows] == [0.25, 0.5, 1.0]
    assert all(row.table is None for row in [*more.measurements, *more.cascades[0].levels])
    tuned = [note for note in results.notes if 'split = "val"' in note]
    assert len(tuned) == 1
    assert "--alpha" in tuned[0]
    assert "--certificate" in tuned[0]


def test_the_rows_of_the_levels_may_have_another_certificate(store: Store) -> None:
    plain, other = (
        sweep_results(store, "sweep", cascade=TWO, certificate=name) for name in (None, "runner-up")
    )
    assert {row.certificate for row in other.rows} == {"runner-up"}
    assert any("--certificate runner-up compares the classifiers alone" in note for note in plain.notes)
    assert not any("compares the classifiers alone" in note for note in other.notes)
    assert plain.cascades[0].acr == other.cascades[0].acr


def test_images_that_all_levels_have_finished(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path / "store", counts=False, grid={"sigma": [0.25, 0.5]})
    order = runs[0].images(0)
    write_counts(runs[0], order[:40], seed=0)
    write_counts(runs[1], order[:25], seed=1)
    results = sweep_results(store, "sweep", cascade=TWO)
    (row,) = results.cascades
    images, found = by_hand(runs, (0.25, 0.5), (0.7,))
    assert row.index.tolist() == sorted(order[:25]) == images["index"].tolist()
    assert (row.certified.radius == found.radius).all()
    assert (row.planned, row.complete) == (len(order), False)
    note = f"over the 25 of {len(order)} images that all its levels have finished (40 at σ = 0.25, 25 at σ = 0.5)"
    assert any(note in one for one in results.notes)
    assert f"25 of {len(order)}" in render(results, "md")


def test_levels_without_a_common_image_yet(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path / "store", counts=False, grid={"sigma": [0.25, 0.5]})
    write_counts(runs[0], runs[0].images(0)[:5])
    results = sweep_results(store, "sweep", cascade=TWO)
    assert results.cascades[0].images == 0
    for form in FORMATS:
        render(results, form)


def test_one_cascade_for_each_setting_and_seed(tmp_path: Path) -> None:
    store, _ = make_store(
        tmp_path / "store",
        method={"name": "consistency", "grid": {"lbd": [1.0, 5.0]}},
        grid={"sigma": [0.25, 0.5], "seed": [0, 1]},
    )
    results = sweep_results(store, "sweep", cascade=TWO)
    assert sorted((row.varying["method.lbd"], row.seed) for row in results.cascades) == [
        (1.0, 0), (1.0, 1), (5.0, 0), (5.0, 1),
    ]  # fmt: skip
    for row in results.cascades:
        for level, sigma in zip(row.levels, TWO.sigmas, strict=True):
            assert (level.sigma, level.seed) == (sigma, row.seed)
            assert level.training.hyperparameters["lbd"] == row.varying["method.lbd"]
    lines = [
        line for line in json_of(results)["lines"] if "cascade of σ = 0.25 → 0.5, τ = 0.7" in line["settings"]
    ]
    assert {(line["seeds"], line["sigma"]) for line in lines} == {(2, None)}
    assert len({line["settings"] for line in lines}) == 2
    assert "0.25 $\\to$ 0.5" in render(results, "latex"), "sorted among the levels"


def test_a_method_without_a_level_is_named(tmp_path: Path) -> None:
    store, _ = make_store(
        tmp_path / "store",
        method=["gaussian", {"name": "consistency", "grid": {"sigma": [0.5]}}],
        grid={"sigma": [0.25, 0.5]},
    )
    results = sweep_results(store, "sweep", cascade=TWO)
    assert [row.method for row in results.cascades] == ["gaussian"]
    assert any("No cascade of consistency" in note and "σ = 0.25" in note for note in results.notes)
    with pytest.raises(InputError, match=r"counts at all of its levels\. No cascade of consistency"):
        sweep_results(store, "sweep", cascade=TWO, only=RowFilter(methods=["consistency"]))


def test_a_level_that_learned_nothing_marks_the_cascade(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path / "store", counts=False, grid={"sigma": [0.25, 0.5]})
    write_counts(runs[0], runs[0].images(0), only=3)
    write_counts(runs[1], runs[1].images(0))
    results = sweep_results(store, "sweep", cascade=TWO)
    assert "ONE CLASS at σ = 0.25" in results.cascades[0].label
    assert any("LEARNED NOTHING" in note for note in results.notes)
    assert "ONE CLASS at σ = 0.25" in render(results, "md")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"split": "val"}, "same certification.split at every level"),
        ({"dataset": "mnist"}, "same dataset at every level"),
        ({"data": "abc"}, r"same files of the dataset \(fingerprint\)"),
        ({"dataset_parameters": {"a": 1}}, "same parameters of the dataset"),
        ({"seed": 5}, "same certification.seed"),
        ({"holdout": 0.1}, "same certification.val_share"),
        ({"noise": "uniform"}, "same noise"),
        ({"stopping": "radius-within"}, "same certification.stopping"),
        ({"arithmetic": "exact"}, "same certification.arithmetic"),
    ],
)
def test_levels_of_other_images_are_refused_by_the_key_that_differs(
    store: Store, changes: dict[str, Any], told: str
) -> None:
    a, b = (measure_run(run) for run in of_levels(store, 0.25, 0.5))
    other = replace(b, spec=b.table_spec.model_copy(update=changes))
    with pytest.raises(RefusedError, match=told):
        measure_cascade([a, other], TWO)


def test_levels_with_other_choices_classes_or_labels_are_refused(store: Store) -> None:
    a, b = (measure_run(run) for run in of_levels(store, 0.25, 0.5))
    assert b.table is not None
    with pytest.raises(RefusedError, match="same alpha at every level"):
        measure_cascade([a, replace(b, alpha=0.01)], TWO)
    with pytest.raises(RefusedError, match="same choice of images"):
        measure_cascade([a, replace(b, subset_key="other")], TWO)
    rows = b.table.rows
    fewer = replace(rows, counts=rows.counts[:, :-1], selection_counts=rows.selection_counts[:, :-1])
    with pytest.raises(
        RefusedError, match=f"same number of classes at every level: .* {CLASSES}, .* {CLASSES - 1}"
    ):
        measure_cascade([a, replace(b, table=replace(b.table, rows=fewer))], TWO)
    label = rows.label.copy()
    label[7] += 1
    with pytest.raises(RefusedError, match="same label at every level: of image 7 "):
        measure_cascade([a, replace(b, table=replace(b.table, rows=replace(rows, label=label)))], TWO)


def test_counts_of_other_noise_are_refused(tmp_path: Path) -> None:
    store, _ = make_store(
        tmp_path / "store", grid={"sigma": [0.25, 0.5]}, noise="uniform", certification={"n0": 10, "n": N, "certificates": ["uniform-l1"]}
    )  # fmt: skip
    with pytest.raises(RefusedError, match="a cascade is proved for gaussian noise"):
        sweep_results(store, "sweep", cascade=TWO)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--cascade", "0.25,0.5"], "needs --tau"),
        (["--tau", "0.9"], "needs --cascade"),
        (["--cascade", "0.25", "--tau", "0.9"], "two levels at least"),
        (["--cascade", "0.25,0.5", "--tau", "0.9,0.8"], "2 thresholds for 2 levels"),
        (["--cascade", "0.25,0.5", "--tau", "0.4"], "outside [0.5, 1)"),
        (["--cascade", "0.25,0.25", "--tau", "0.9"], "its levels need different σ"),
        (["--cascade", "0.25,half", "--tau", "0.9"], "not a list of numbers"),
        (["--cascade", "0.25,0.3", "--tau", "0.9"], "no run has σ = 0.3. Available: 0.25, 0.5, 1"),
    ],
)
def test_wrong_options_exit_with_2(
    tmp_path: Path, chain: Chain, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    make_store(tmp_path / "store", counts=False, grid={"sigma": [0.25, 0.5, 1.0]})
    assert rsctl(["export", "sweep", *options]) == 2
    assert told in capsys.readouterr().err
    assert rsctl(["plot", "sweep", "-o", "x.png", *options]) == 2
    assert told in capsys.readouterr().err


def test_a_cascade_of_chosen_runs_by_their_ids(store: Store) -> None:
    a, b = of_levels(store, 0.25, 0.5)
    one = open_run(store, f"{a.id[:30]}@0.7+{b.id}")
    assert one.run == f"{a.id}@0.7+{b.id}"
    assert split_id(one.run) == ([a.id, b.id], [0.7])
    assert (one.score == sweep_results(store, "sweep", cascade=TWO).cascades[0].score).all()
    with pytest.raises(InputError, match=r"has no threshold. A cascade is written RUN@τ\+RUN"):
        open_run(store, f"{a.id}+{b.id}")
    with pytest.raises(RefusedError, match=r"outside \[0.5, 1\)"):
        open_run(store, f"{a.id}@0.3+{b.id}")


def test_figures_name_the_cascade(store: Store) -> None:
    panels, _ = collect(store, "sweep", cascade=TWO)
    named = titles(panels, "curve")
    assert [("cascade of σ = 0.25 → 0.5, τ = 0.7" in title) for title in named] == [False, True]
    assert label(panels[1].series[0], panels[1]) == "gaussian (cascade of σ = 0.25 → 0.5, τ = 0.7)"


def test_levels_and_cascade_stand_side_by_side(store: Store) -> None:
    values = json_of(sweep_results(store, "sweep", cascade=TWO))["families"]
    assert {(row["certificate"], row["sigma"]) for row in values} == {
        ("cohen", 0.25), ("cohen", 0.5), ("cascade", None),
    }  # fmt: skip
    assert all(LABEL in row["guarantee"] for row in values if row["certificate"] == "cascade")
    assert "families" not in json_of(sweep_results(store, "sweep"))


def test_csv_names_the_classifier_in_each_line(store: Store) -> None:
    lines = list(csv.DictReader(io.StringIO(render(sweep_results(store, "sweep", cascade=TWO), "csv"))))
    ours = [line for line in lines if line["certificate"] == "cascade"]
    assert len(ours) == 3
    assert all(LABEL in line["guarantee"] and line["sigma"] == "" for line in ours)


def test_an_exported_log_stays_a_log_of_the_cascade(store: Store, tmp_path: Path) -> None:
    (*_, file), results = export_logs(store, "sweep", tmp_path / "logs", cascade=TWO)
    assert file.name == f"{results.cascades[0].run}-cascade.tsv"
    sigma = GivenFacts(0.5, *[None] * 10)
    (one,) = import_logs(store, "logs", [file], sigma)
    assert one.certificate == "cascade"
    (row,) = sweep_results(store, "logs").logged
    assert "cascade of σ = 0.25 → 0.5, τ = 0.7" in row.name
    assert "smoothed classifier" not in row.guarantee
    assert row.acr == pytest.approx(results.cascades[0].acr)
    others = import_logs(store, "all", [tmp_path / "logs"], GivenFacts(*[None] * 11))
    assert [one.state for one in others].count("skipped") == 1, "no σ is assumed for it"


def test_explain_and_completion(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    assert rsctl(["explain", "cascade"]) == 0
    assert "of the cascade of its levels" in " ".join(capsys.readouterr().out.split())
    assert completion.explained("casc") == [
        "cascade", "cascade.levels", "cascade.order", "cascade.settled_radius", "cascade.tau", "cascade.tuned",
    ]  # fmt: skip
    chain.plan(tiny(grid={"sigma": [0.25, 0.5, 1.0]}))
    assert completion.levels("0.25,") == ["0.25,0.5", "0.25,1"]
