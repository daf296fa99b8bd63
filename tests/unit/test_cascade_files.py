"""`[[cascade]]` of a sweep file: validated, planned, watched, exported, plotted and compared, of this sweep's runs and of others'."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from chain import Chain, tiny
from report_cases import make_store, write_counts
from test_cascades import by_hand

from rsctl.cli.app import run as rsctl
from rsctl.cluster.prune import leftovers
from rsctl.cluster.status import status_text, status_values
from rsctl.config.cascades import CascadeLevel
from rsctl.config.settings import Place, Settings
from rsctl.config.sweep import build_sweep
from rsctl.config.validate import Invalid
from rsctl.errors import InputError
from rsctl.plan.commit import commit
from rsctl.plan.describe import describe
from rsctl.plan.plan import Plan, make_plan
from rsctl.reference.schema import sweep_schema
from rsctl.report.compare.levels import compared
from rsctl.report.figures.plots import KINDS
from rsctl.report.figures.series import by_cascade, collect
from rsctl.report.figures.titles import titles
from rsctl.report.tables.formats import FORMATS, render
from rsctl.results import open as open_results
from rsctl.results.row_filter import RowFilter
from rsctl.results.sweep import Results, sweep_results
from rsctl.store.layout import Run, Store

TWO: dict[str, Any] = {"levels": [0.25, 0.5], "tau": 0.7}
LABEL = "of the cascade of σ = 0.25 → 0.5 (τ = 0.7)"
SIGMAS = {"sigma": [0.25, 0.5]}


def place_of(root: Path) -> Place:
    return Place(settings=Settings(), file=None, store=root, data=root / "data")


def plan(root: Path, cascade: Any = None, **values: Any) -> Plan:
    raw = {
        "name": "sweep", "dataset": "digits", "model": "cnn", "method": "gaussian", "sigma": 0.5,
        "certification": {"n0": 10, "n": 1000, "certificates": ["cohen"]}, "grid": SIGMAS, **values,
    }  # fmt: skip
    raw |= {} if cascade is None else {"cascade": cascade}
    return make_plan(build_sweep(raw, "sweep.toml", root / "data"), "sweep.toml", Store(root))


def names(planned: Plan) -> list[str]:
    return [one.text for one in planned.cascades]


def run_of(store: Store, method: str, sigma: float, seed: int = 0) -> Run:
    (found,) = (
        run
        for run in store.runs("counts")
        if run.count_spec.sigma == sigma
        for train in [store.model(run.count_spec.model_run).train_spec]
        if (train.method, train.seed) == (method, seed)
    )
    return found


@pytest.mark.parametrize(
    ("cascade", "told"),
    [
        ({"levels": [0.25], "tau": 0.9}, "cascade.0.levels: a cascade needs two levels at least"),
        ({"levels": [0.25, 0.5]}, "cascade.0.tau: is required"),
        ({"levels": [0.25, 0.5], "tau": 0.4}, "cascade.0.tau: give a threshold in [0.5, 1)"),
        ({"levels": [0.25, 0.5], "tau": 1.0}, "cascade.0.tau: give a threshold in [0.5, 1)"),
        ({"levels": [0.25, 0.5], "tau": [0.9, 0.8]}, "2 thresholds for 2 levels"),
        ({"levels": [0.25, True], "tau": 0.9}, "cascade.0.levels.1: a level is a σ, the id of a run, or a table of sigma, method"),
        ({"levels": [0.25, {"sgma": 0.5}], "tau": 0.9}, "cascade.0.levels.1.sgma: no such key. Did you mean 'sigma'?"),
        ({"levels": [0.25, {"seed": 0}], "tau": 0.9}, "a level needs sigma, method, sweep or run"),
        ({**TWO, "taus": 0.9}, "cascade.0.taus: no such key. Did you mean 'tau'?"),
        ({"levels": [0.25, 0.3], "tau": 0.9}, "cascade.0.levels: no method has a run at each of its levels. No cascade of gaussian, seed 0: no run with these settings at σ = 0.3. Available: gaussian at σ = 0.25, gaussian at σ = 0.5."),
        ({"levels": [0.25, {"method": "macer", "sigma": 0.5}], "tau": 0.9}, "no run fits the level macer, σ = 0.5. Available: gaussian"),
        ({"levels": [0.25, {"sweep": "none", "sigma": 0.5}], "tau": 0.9}, "cascade.0.levels: no sweep 'none'"),
        ({"levels": [0.25, "nothing"], "tau": 0.9}, "no certification run has an id that begins with 'nothing'"),
        ({"levels": [0.25, {"method": "gaussian", "sigma": 0.25}], "tau": 0.9}, "would be two of its levels"),
        ({"levels": [0.25, 0.25], "tau": 0.9}, "its levels need different σ"),
        ([TWO, {**TWO, "tau": 0.9}, TWO], "cascade.2.levels: equals an earlier [[cascade]]"),
        (0.5, "cascade: must be one or several [[cascade]] tables"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_key(tmp_path: Path, cascade: Any, told: str) -> None:
    with pytest.raises(InputError) as error:
        plan(tmp_path, cascade)
    assert told in str(error.value)
    assert str(error.value).startswith("sweep.toml: ")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"noise": "uniform", "certification": {"n0": 10, "n": 1000, "certificates": ["uniform-l1"]}}, "proved for Gaussian noise and a fixed n"),
        ({"certification": {"n0": 10, "n": 1000, "certificates": ["sequential"], "stopping": "radius-within"}}, "certification.stopping = 'radius-within'"),
    ],
)  # fmt: skip
def test_counts_that_a_cascade_is_not_proved_for_are_refused_before_they_are_sampled(
    tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(Invalid, match=r"cascade\.0\.levels") as error:
        plan(tmp_path, TWO, **settings)
    assert told in str(error.value)


def test_levels_of_other_images_are_refused_by_the_key_that_differs(tmp_path: Path) -> None:
    make_store(
        tmp_path, name="other", grid={"sigma": [0.5]}, counts=False, certification={"n": 1000, "seed": 3}
    )
    level = {"sweep": "other", "sigma": 0.5}
    with pytest.raises(Invalid, match=r"a cascade needs the same certification\.seed at every level"):
        plan(tmp_path, {"levels": [0.25, level], "tau": 0.9})
    make_store(
        tmp_path, name="few", grid={"sigma": [1.0]}, counts=False, certification={"n": 1000, "max_images": 5}
    )
    with pytest.raises(Invalid, match="same choice of images"):
        plan(tmp_path, {"levels": [0.25, {"sweep": "few", "sigma": 1.0}], "tau": 0.9})


def test_a_grid_cannot_list_cascades(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"grid\.cascade\.tau: a grid can't list it"):
        plan(tmp_path, grid={**SIGMAS, "cascade": {"tau": [0.7, 0.9]}})


def test_cascades_change_no_run_and_add_no_work(tmp_path: Path) -> None:
    without, with_one = plan(tmp_path), plan(tmp_path, TWO)
    assert list(without.tables) == list(with_one.tables)
    assert list(without.models) == list(with_one.models)
    before, after = (describe(one, place_of(tmp_path), only_known=True).values for one in (without, with_one))
    (cascade,) = after["cascades"].values()
    assert (before["tasks"], before["draws"]) == (after["tasks"], after["draws"])
    assert cascade == {"levels": [spec.spec.run_id for spec in with_one.tables.values()], "tau": [0.7]}
    assert before["cascades"] == {}


def test_one_cascade_for_each_method_and_seed_that_its_levels_leave_open(tmp_path: Path) -> None:
    several = {"method": ["gaussian", "consistency"], "grid": {"sigma": [0.25, 0.5], "seed": [0, 1]}}
    both = names(plan(tmp_path, TWO, **several))
    assert both == [
        f"{method} σ = 0.25 → 0.5, τ = 0.7" for method in ("gaussian", "consistency") for _ in (0, 1)
    ]
    fixed = [{"method": "gaussian", "sigma": 0.25}, {"method": "consistency", "sigma": 0.5}]
    found = plan(tmp_path, {"levels": fixed, "tau": 0.9}, **several).cascades
    assert [one.text for one in found] == ["gaussian σ = 0.25 → consistency σ = 0.5, τ = 0.9"] * 2
    assert [[level.train.seed for level in one.levels] for one in found] == [[0, 0], [1, 1]]
    pinned = [{**level, "seed": 1} for level in fixed]
    (one,) = plan(tmp_path, {"levels": pinned, "tau": 0.9}, **several).cascades
    assert {level.train.seed for level in one.levels} == {1}
    first = plan(tmp_path, {"levels": [fixed[0], 0.5], "tau": 0.9}, **several).cascades
    assert len(first) == 4
    assert all(one.levels[0].train.seed == one.levels[1].train.seed for one in first)


def test_a_level_with_several_settings_is_told_apart_by_them(tmp_path: Path) -> None:
    several = {"method": ["gaussian", {"name": "consistency", "grid": {"lbd": [1.0, 5.0]}}]}
    level: dict[str, Any] = {"method": "consistency", "sigma": 0.5}
    with pytest.raises(Invalid, match="several runs of consistency could be the level"):
        plan(tmp_path, {"levels": [{"method": "gaussian", "sigma": 0.25}, level], "tau": 0.9}, **several)
    level["method"] = {"name": "consistency", "lbd": 5.0}
    (one,) = plan(
        tmp_path, {"levels": [{"method": "gaussian", "sigma": 0.25}, level], "tau": 0.9}, **several
    ).cascades
    assert one.levels[1].train.hyperparameters["lbd"] == 5.0
    assert len(plan(tmp_path, TWO, **several).cascades) == 3


@pytest.mark.parametrize(
    ("file", "fits"), [("a.pth", True), ("nets/a.pth", True), ("/data/nets/a.pth", True), ("b.pth", False), ("other/a.pth", False)]
)  # fmt: skip
def test_a_checkpoint_is_a_level_by_its_file(tmp_path: Path, file: str, fits: bool) -> None:
    one = plan(tmp_path, TWO).cascades[0].levels[0]
    taken = replace(
        one, train=one.train.model_copy(update={"method": "checkpoint", "file": "/data/nets/a.pth"})
    )
    level = CascadeLevel(method={"name": "checkpoint", "file": file}, sigma=0.25)
    assert taken.fits(level) == fits


def test_a_method_without_a_level_is_a_note(tmp_path: Path) -> None:
    found = plan(tmp_path, TWO, method=["gaussian", {"name": "consistency", "grid": {"sigma": [0.5]}}])
    assert names(found) == ["gaussian σ = 0.25 → 0.5, τ = 0.7"]
    assert any("No cascade of consistency, seed 0" in note for note in describe(found, place_of(tmp_path), only_known=True).values["notes"])  # fmt: skip


def json_of(results: Results) -> Any:
    return json.loads(render(results, "json"))


def test_exports_have_the_cascade_with_its_levels_by_default(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path, grid={"sigma": [0.25, 0.5, 1.0]}, cascade=TWO)
    images, found = by_hand(runs[:2], (0.25, 0.5), (0.7,))
    results = sweep_results(store, "sweep")
    (row,) = results.cascades
    assert [one.sigma for one in results.rows] == [0.25, 0.5, 1.0]
    assert (row.certified.radius == found.radius).all()
    assert (row.certified.predicted == found.predicted).all()
    for form in FORMATS:
        text = " ".join(render(results, form).split())
        text = text.replace("\\u03c3", "σ").replace("\\u2192", "→").replace("\\u03c4", "τ")
        assert LABEL in text or "cascade of $\\sigma$ = 0.25 $\\to$ 0.5 ($\\tau$ = 0.7)" in text
    (opened,) = open_results(store.sweep_folder("sweep")).cascades  # type: ignore[union-attr]
    assert (opened.radius == found.radius).all()
    again = sweep_results(store, "sweep", cascade=row.run)
    assert (again.cascades[0].certified.radius == found.radius).all()
    assert [one.sigma for one in again.rows] == [0.25, 0.5]
    (other,) = sweep_results(store, "sweep", alpha=0.01).cascades
    assert (other.certified.radius == by_hand(runs[:2], (0.25, 0.5), (0.7,), 0.01)[1].radius).all()
    assert images["index"].tolist() == row.index.tolist()


def test_a_cascade_across_methods_and_sweeps_is_named_everywhere(tmp_path: Path) -> None:
    make_store(tmp_path, name="other", method="consistency", grid=SIGMAS)
    store, _ = make_store(
        tmp_path, grid=SIGMAS, cascade={"levels": [{"method": "gaussian", "sigma": 0.25}, {"sweep": "other", "sigma": 0.5}], "tau": 0.8}
    )  # fmt: skip
    runs = [run_of(store, "gaussian", 0.25), run_of(store, "consistency", 0.5)]
    _, found = by_hand(runs, (0.25, 0.5), (0.8,))
    results = sweep_results(store, "sweep")
    (row,) = results.cascades
    assert (row.certified.radius == found.radius).all()
    assert (
        "of the cascade of gaussian σ = 0.25 → consistency (sweep=other) σ = 0.5 (τ = 0.8)" in row.guarantee
    )
    assert row.method == "gaussian → consistency"
    assert [(one.method, one.sigma) for one in results.rows] == [
        ("gaussian", 0.25), ("gaussian", 0.5), ("consistency", 0.5),
    ], "a level of another sweep stands beside the sweep's own runs"  # fmt: skip
    shown = {form: " ".join(render(results, form).split()) for form in FORMATS}
    assert (
        r"gaussian $\sigma$ = 0.25 $\to$ consistency (sweep=other) $\sigma$ = 0.5 ($\tau$ = 0.8)"
        in shown["latex"]
    )
    assert all("gaussian → consistency (cascade of" in shown[form] for form in ("md", "csv"))
    values = json_of(results)
    assert {line["guarantee"] for line in values["rows"] if line["certificate"] == "cascade"} == {
        row.guarantee
    }
    kept = {one.path for one in leftovers(place_of(tmp_path), ["other"], recent=-1)}
    assert runs[1].path not in kept, "deleting the other sweep keeps the level"
    assert run_of(store, "consistency", 0.25).path in kept


def test_a_level_that_was_removed_leaves_the_rest_of_the_sweep(tmp_path: Path) -> None:
    make_store(tmp_path, name="other", method="consistency", grid=SIGMAS)
    store, _ = make_store(
        tmp_path, grid=SIGMAS, cascade=[TWO, {"levels": [0.25, {"sweep": "other", "sigma": 0.5}], "tau": 0.8}]
    )
    shutil.rmtree(run_of(store, "consistency", 0.5).path)
    results = sweep_results(store, "sweep")
    assert [row.guarantee.endswith(LABEL) for row in results.cascades] == [True]
    assert any("Left out: the cascade" in note and "spec.json" in note for note in results.notes)
    told = status_text(status_values(place_of(tmp_path), "sweep"))
    assert "can't be read" in told
    with pytest.raises(InputError):
        sweep_results(store, "sweep", cascade=store.sweep("sweep")["cascades"][1].id)


def test_runs_are_levels_by_their_ids(tmp_path: Path) -> None:
    other, _ = make_store(tmp_path, name="other", method="consistency", grid=SIGMAS)
    run = run_of(other, "consistency", 0.5)
    for level in (run.id, run.id[:-3], {"run": run.id}, {"run": run.id, "sweep": "other"}):
        (one,) = plan(tmp_path, {"levels": [0.25, level], "tau": 0.9}).cascades
        assert one.levels[1].run == run.id
        assert one.levels[1].sweep == "other"


def test_a_run_that_two_sweeps_have_is_this_ones(tmp_path: Path) -> None:
    for name in ("other", "third"):
        make_store(
            tmp_path,
            name=name,
            grid={"sigma": [0.25, 1.0]},
            counts=False,
            certification={"n0": 10, "n": 1000},
        )
    for first in (0.25, {"sweep": "other", "sigma": 0.25}):
        (one,) = plan(tmp_path, {"levels": [first, {"sweep": "other", "sigma": 1.0}], "tau": 0.9}).cascades
        assert [level.sweep for level in one.levels] == ["", "other"]
    run = one.levels[1].run
    (one,) = plan(tmp_path, {"levels": [0.25, run], "tau": 0.9}).cascades
    assert one.levels[1].run == run


def test_only_wanted_cascades_are_exported(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path, grid=SIGMAS, method=["gaussian", "consistency"], cascade=TWO)
    assert [row.method for row in sweep_results(store, "sweep").cascades] == ["gaussian", "consistency"]
    (one,) = sweep_results(store, "sweep", only=RowFilter(methods=["gaussian"])).cascades
    assert one.method == "gaussian"
    assert not sweep_results(store, "sweep", only=RowFilter(sigmas=[0.5])).cascades
    alone = sweep_results(store, "sweep", only=RowFilter(runs=[one.run], said="it"))
    assert [row.run for row in alone.every] == [one.run]
    assert not sweep_results(store, "sweep", only=RowFilter(runs=[one.levels[0].run], said="it")).cascades


def test_a_cascade_that_its_counts_do_not_allow_is_left_out_with_the_reason(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path, grid=SIGMAS, counts=False, cascade=TWO)
    for k, run in enumerate(runs):
        write_counts(run, run.images(0), seed=k)
    values = json.loads((tmp_path / "sweeps/sweep/plan.json").read_text())
    (one,) = store.sweep("sweep")["cascades"]
    levels = [one.levels[0], replace(one.levels[1], alpha=0.01).sealed()]
    values["cascades"] = [replace(one, levels=levels).sealed().values]
    (tmp_path / "sweeps/sweep/plan.json").write_text(json.dumps(values))
    results = sweep_results(store, "sweep")
    assert not results.cascades
    assert any("Left out: the cascade" in note and "same alpha" in note for note in results.notes)


def test_a_changed_threshold_in_the_plan_is_noticed(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path, grid=SIGMAS, counts=False, cascade=TWO)
    file = tmp_path / "sweeps/sweep/plan.json"
    values = json.loads(file.read_text())
    values["cascades"][0]["taus"] = [0.95]
    file.write_text(json.dumps(values))
    with pytest.raises(InputError, match="doesn't match its digest"):
        store.sweep("sweep")
    values["cascades"][0]["taus"] = [0.3]
    file.write_text(json.dumps(values))
    with pytest.raises(InputError, match="cascades"):
        store.sweep("sweep", numbers=False)


def test_status_has_the_images_that_all_levels_have(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path, grid=SIGMAS, counts=False, cascade=TWO)
    order = runs[0].images(0)
    write_counts(runs[0], order[:40])
    write_counts(runs[1], order[10:25])
    values = status_values(place_of(store.root), "sweep")
    (cascade,) = values["sweeps"][0]["cascades"]
    assert (cascade["images"], cascade["planned"], cascade["tau"]) == (15, len(order), [0.7])
    told = f"cascade gaussian σ = 0.25 → 0.5, τ = 0.7  15 of {len(order)} images that all levels have"
    assert told in status_text(values)


def test_submit_watch_export_plot_and_compare(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    values = tiny(
        grid=SIGMAS,
        certification={"n0": 10, "n": 1000, "max_images": 12, "shards": 1, "radii": [0.0, 0.2]},
        cascade=TWO,
    )
    assert rsctl(["check", str(chain.file(values))]) == 0
    assert "cascade gaussian σ = 0.25 → 0.5, τ = 0.7: " in capsys.readouterr().out
    assert len(chain.plan(values).requests) == 4
    for k, run in enumerate(chain.store.runs("counts")):
        write_counts(run, run.images(0), seed=k)
    assert rsctl(["status", "tiny"]) == 0
    assert "12 of 12 images that all levels have" in capsys.readouterr().out
    assert rsctl(["plot", "tiny", "-o", "figure.png", "--kind", "cascades"]) == 0
    assert "no single classifier" in capsys.readouterr().err
    assert rsctl(["export", "tiny", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert sum(row["certificate"] == "cascade" for row in rows) == 2
    assert rsctl(["compare", "tiny", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["comparisons"]
    (cascade,) = {one["first"] for one in found}
    assert [one["second"] for one in found] == [part.split("@")[0] for part in cascade.split("+")]
    assert rsctl(["compare", cascade, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["comparisons"] == found
    assert rsctl(["compare", cascade, found[1]["second"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found[1]
    # The same file with another cascade: no run changes.
    changed = {**values, "cascade": {**TWO, "tau": 0.8}}
    committed = chain.plan(changed, update=True)
    assert (committed.done, len(committed.requests)) == (2, 2), "counts stay; the models were never trained"
    assert "update: the file changed, its runs and images did not" in committed.notes


def test_comparing_needs_a_cascade_or_two_runs(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path, grid=SIGMAS)
    for name, told in (("sweep", r"has no \[\[cascade\]\]"), (runs[0].id, "Give two runs")):
        with pytest.raises(InputError, match=told):
            compared(store, name, "", None, None, None, as_json=False)


def test_the_figure_has_cascade_levels_and_an_envelope_that_is_no_classifier(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    store, _ = make_store(
        tmp_path, grid={"sigma": [0.25, 0.5], "seed": [0, 1]}, method=["gaussian", "consistency"], cascade=TWO
    )
    panels = by_cascade(collect(store, "sweep")[0])
    assert [title.split(",")[0:2] for title in titles(panels, "cascades")] == [
        ["digits test", f" {method} (cascade of σ = 0.25 → 0.5"] for method in ("gaussian", "consistency")
    ]  # fmt: skip
    axes = Figure().subplots()
    notes = KINDS["cascades"](axes, panels[0], {}, 0.0, store)
    drawn = {str(line.get_label()): line for line in axes.lines}
    assert list(drawn) == ["cascade", "σ = 0.25", "σ = 0.5", "envelope (no classifier)"]
    radii, best = drawn["envelope (no classifier)"].get_data()
    wanted = np.max([one.accuracy(np.asarray(radii))[0] for one in panels[0].series[1:]], axis=0)
    assert best == pytest.approx(wanted)
    assert any("no single classifier" in note for note in notes)
    assert all(len(one.images) == 2 for one in panels[0].series), "seeds are merged"


@pytest.mark.parametrize(
    ("cascade", "valid"),
    [
        (TWO, True), ([TWO, {"levels": ["run", {"method": {"name": "gaussian"}, "sigma": 0.5}, 1], "tau": [0.5, 0.9]}], True),
        ({"levels": [0.25], "tau": 0.9}, False), ({"levels": [0.25, 0.5]}, False), ({**TWO, "tau": 1.0}, False), ({**TWO, "other": 1}, False),
        ({"levels": [0.25, {"sgma": 1}], "tau": 0.9}, False),
    ],
)  # fmt: skip
def test_the_schema_takes_what_the_loader_takes(cascade: Any, valid: bool) -> None:
    raw = {"name": "a", "dataset": "digits", "model": "cnn", "method": "gaussian", "cascade": cascade}
    assert jsonschema.Draft202012Validator(sweep_schema()).is_valid(raw) == valid


def test_a_store_of_an_earlier_version_has_no_cascades(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path, grid=SIGMAS)
    assert "cascades" not in json.loads((tmp_path / "sweeps/sweep/plan.json").read_text())
    assert not sweep_results(store, "sweep").cascades


def test_a_submission_repeated_keeps_the_cascades(tmp_path: Path) -> None:
    make_store(tmp_path, name="other", method="consistency", grid={"sigma": [1.0]}, counts=False)
    planned = plan(tmp_path, {"levels": [0.25, {"sweep": "other", "sigma": 1.0}], "tau": 0.9})
    for _ in range(2):
        commit(planned, place_of(tmp_path), update=False)
        (one,) = Store(tmp_path).sweep("sweep")["cascades"]
        assert one.sweeps == ["", "other"]
        assert one.levels[1] == Store(tmp_path).sweep("other")["entries"][0]
