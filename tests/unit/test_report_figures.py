"""Figures are written whole in each format, say what they leave out, and draw outside text as text; the notebook API."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from report_cases import make_store, write_counts

import rsctl.results
from rsctl.certificates import find_certificate
from rsctl.config.runs import AttackSpec
from rsctl.errors import InputError
from rsctl.report.figures.draw import plot
from rsctl.report.figures.hours import task_hours
from rsctl.report.figures.line_styles import COLOURS, SETTINGS, in_common, method_colours
from rsctl.report.figures.plots import KINDS
from rsctl.report.figures.series import Panel, _attacks_on, at_least, by_norm, collect
from rsctl.report.figures.titles import titles
from rsctl.report.radius_logs.import_logs import GivenFacts, import_logs
from rsctl.report.tables.summary import Group, Line
from rsctl.results.notes import warnings
from rsctl.store.attempts import Claim
from rsctl.store.layout import Run
from rsctl.store.tables import read_table

MAGIC = {".pdf": b"%PDF", ".svg": b"<?xml", ".png": b"\x89PNG"}
LOG = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t5\t5\t0.5\t1\t1\n1\t5\t4\t0.5\t0\t1\n2\t5\t-1\t0.0\t0\t1\n"


def took(run: Run, seconds: float) -> None:
    """A finished attempt at the first task."""
    words = b'\n{"record":"claim","time":100}\n{"record":"end","time":%f,"state":"done"}'
    Claim.take(run, 0, {}).file.write_bytes(words % (100 + seconds))


@pytest.mark.parametrize(
    ("kind", "suffix"), [*((kind, ".svg") for kind in KINDS), ("curve", ".pdf"), ("classes", ".png")]
)
def test_every_kind_and_every_format(tmp_path: Path, kind: str, suffix: str) -> None:
    grid, cascade = {"sigma": [0.25, 0.5], "seed": [0, 1]}, {"levels": [0.25, 0.5], "tau": 0.9}
    store, runs = make_store(tmp_path, grid=grid, cascade=cascade)
    for run in (*store.runs("models"), *runs):
        took(run, 10)
    log = tmp_path / "_$x_{1}^$\\frac_sigma_0.5.tsv"
    log.write_text(LOG)
    import_logs(store, "sweep", [log], GivenFacts())
    file = tmp_path / f"figure{suffix}"
    plot(store, "sweep", file, kind=kind)
    assert file.read_bytes().startswith(MAGIC[suffix])
    first = file.read_bytes()
    plot(store, "sweep", file, kind=kind)
    assert file.read_bytes() == first  # nothing but the results decides its bytes


def test_wrong_input_is_a_sentence(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path, counts=False)
    with pytest.raises(InputError, match=r"\.gif"):
        plot(store, "sweep", tmp_path / "a.gif")
    with pytest.raises(InputError, match="Did you mean 'curve'"):
        plot(store, "sweep", tmp_path / "a.pdf", kind="curv")
    with pytest.raises(InputError, match="no image is certified yet"):
        plot(store, "sweep", tmp_path / "a.pdf")
    assert not list(tmp_path.glob("a.*"))


def test_hours_of_logs_alone_are_refused(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path, counts=False)
    log = tmp_path / "a_sigma_0.5.tsv"
    log.write_text(LOG)
    import_logs(store, "logs", [log], GivenFacts(dataset="digits", model="cnn"))
    with pytest.raises(InputError, match="no run with a recorded time"):
        plot(store, "logs", tmp_path / "a.pdf", kind="hours")
    assert not (tmp_path / "a.pdf").exists()


def test_no_two_panels_have_one_title(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path)
    (panel,), _ = collect(store, "sweep", radii=[0.0])
    row = panel.group.first

    def last_words(kind: str = "curve", **changes: Any) -> list[str]:
        other = Panel(Group([Line([replace(row, **changes)])]), panel.series)
        return [title.rpartition(", ")[2] for title in titles([panel, other], kind)]

    assert titles([panel], "curve") == ["digits test, cohen, n = 1000, α = 0.001"]
    assert last_words(certificate="runner-up") == ["α = 0.001"] * 2
    assert last_words(spec=row.table_spec.model_copy(update={"n0": 7})) == ["n0 = 10", "n0 = 7"]
    exact = row.table_spec.model_copy(update={"arithmetic": "exact"})
    assert last_words(spec=exact) == ["float arithmetic", "exact arithmetic"]
    assert last_words(subset="every 2th of 360") == ["all of 360", "every 2th of 360"]
    assert len(set(last_words(subset_key="another"))) == 2
    assert last_words("families", norm="linf") == ["l2", "linf"]


def test_an_attack_on_float_noise_is_not_drawn_with_exact_arithmetic_but_told(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path)
    (panel,), _ = collect(store, "sweep", radii=[0.0])
    row = panel.group.first
    spec = AttackSpec(
        model_hash=row.training.hash, model_run=row.training.run_id, dataset="digits", dataset_parameters={}, split="test", seed=0,
        attack="ddn", revision=1, parameters={}, norm="l2", target="smoothed", sigma=row.sigma, noises=8, n=100, alpha=0.001,
        precision="fp32",
    )  # fmt: skip
    attack = replace(row.restrict(row.index[:1]), kind="attacks", spec=spec, distance=np.ones(1))
    assert _attacks_on(panel.group, [attack]) == [attack]
    exact = replace(row, spec=row.table_spec.model_copy(update={"arithmetic": "exact"}))
    assert _attacks_on(Group([Line([exact])]), [attack]) == []
    assert warnings([row], [attack]) == warnings([exact]) == []
    assert (
        "the classifier certified in exact arithmetic is another one" in warnings([row, exact], [attack])[0]
    )


def test_the_curve_is_the_tables_certified_accuracy(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path)
    (panel,), results = collect(store, "sweep", radii=[0.0, 0.2, 0.4])
    mean, low, high = panel.series[0].accuracy(np.array([0.0, 0.2, 0.4]))
    cells = results.rows[0].cells
    assert mean.tolist() == pytest.approx([cell.accuracy for cell in cells])
    assert list(zip(low, high, strict=True)) == [pytest.approx(cell.interval) for cell in cells]
    assert at_least(np.array([0.5, -1.0]), np.array([0.5, 0.51])).tolist() == [0.5, 0.0]


def test_partial_runs_are_drawn_and_named_as_such(tmp_path: Path) -> None:
    from rsctl.config.permutation import images_of

    store, (run,) = make_store(tmp_path, counts=False)
    write_counts(run, images_of(360, 0.0, 0, 1, 0)[:40])
    notes = plot(store, "sweep", tmp_path / "a.svg")
    assert any("40 of 360" in note for note in notes)


def test_a_method_keeps_its_colour_beside_any_other() -> None:
    alone = method_colours(["gaussian"])["gaussian"]
    assert method_colours(["aaa", "gaussian", "zzz"])["gaussian"] == alone
    many = method_colours([f"m{i}" for i in range(len(COLOURS))])
    assert len(set(many.values())) == len(COLOURS)


@pytest.mark.parametrize("kind", ["curve", "ecdf", "envelope", "families", "classes", "hours"])
@pytest.mark.parametrize("varied", ["method", "training.lr"])
def test_no_two_entries_of_a_legend_look_alike_even_without_colour(
    tmp_path: Path, kind: str, varied: str
) -> None:
    values: list[Any] = ["gaussian", "consistency"] if varied == "method" else [0.1, 0.01]
    _, axes = drawn(tmp_path, kind, {"sigma": [0.25, 0.5], varied: values})
    lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    looks = {(str(line._dash_pattern), str(line.get_marker()), line.get_fillstyle()) for line in lines}
    assert len(looks) == len(lines)
    assert len(lines) == (2 if kind == "envelope" else 4)


def drawn(folder: Path, kind: str, grid: dict[str, Any]) -> tuple[list[Panel], Any]:
    """One panel of a new sweep, and the axes in which it is drawn."""
    methods = [{"name": name} for name in grid.pop("method", ["gaussian"])]
    store, runs = make_store(folder, grid=grid, method=methods)
    for run in (*store.runs("models"), *runs):
        took(run, 10)
    panels, _ = collect(store, "sweep", radii=[0.0])
    panels = by_norm(panels) if kind == "families" else panels
    with matplotlib.rc_context(SETTINGS):
        axes = Figure(figsize=(3.25, 2.3), layout="constrained").subplots()
        KINDS[kind](axes, panels[0], method_colours([method["name"] for method in methods]), 0.0, store)
    return panels, axes


def test_a_legend_of_many_lines_names_methods_and_levels_once(tmp_path: Path) -> None:
    grid: dict[str, Any] = {"sigma": [0.25, 0.5], "method": ["gaussian", "stability", "consistency"]}
    _, axes = drawn(tmp_path, "curve", grid)
    said = [entry.get_text() for entry in axes.get_legend().get_texts()]
    assert said == ["gaussian", "stability", "consistency", "σ = 0.25", "σ = 0.5"]


def test_a_legend_names_nothing_that_is_not_drawn(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path, grid={"sigma": [0.25, 0.5]}, method=[{"name": "gaussian"}, {"name": "macer"}, {"name": "stability"}])  # fmt: skip
    for run in (*store.runs("models"), *runs):
        if not run.id.startswith("macer"):
            took(run, 10)
    (panel,), _ = collect(store, "sweep", radii=[0.0])
    axes = Figure().subplots()
    KINDS["hours"](axes, panel, method_colours(["gaussian", "macer", "stability"]), 0.0, store)
    said = [entry.get_text() for entry in axes.get_legend().get_texts()]
    assert said == ["gaussian", "stability", "σ = 0.25", "σ = 0.5"]


def test_what_all_lines_share_is_said_in_the_title_alone(tmp_path: Path) -> None:
    (panel,), axes = drawn(tmp_path, "curve", {"seed": [0, 1], "method": ["gaussian", "stability"]})
    assert in_common(panel) == ", σ = 0.5, 2 seeds"
    assert [entry.get_text() for entry in axes.get_legend().get_texts()] == ["gaussian", "stability"]


def test_a_figure_as_wide_as_a_column_keeps_its_axes_and_its_words(tmp_path: Path) -> None:
    _, axes = drawn(tmp_path, "ecdf", {"sigma": [0.25, 0.5], "method": ["gaussian", "stability", "macer"]})
    figure = axes.figure
    figure.draw_without_rendering()
    whole = figure.bbox
    assert axes.bbox.width > 0.7 * whole.width
    for one in (axes.xaxis.label, axes.yaxis.label, axes.get_legend()):
        box = one.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= whole.x1
    assert not axes.get_legend().get_window_extent().overlaps(axes.bbox)
    assert not axes.get_legend().get_window_extent().overlaps(axes.xaxis.label.get_window_extent())


def test_hours_are_those_of_every_attempt(tmp_path: Path) -> None:
    _, (run,) = make_store(tmp_path)
    assert np.isnan(task_hours(run))
    for seconds in (10.0, 26.0):
        took(run, seconds)
    assert task_hours(run) == pytest.approx(36 / 3600)


def test_a_training_in_several_processes_counts_for_each(tmp_path: Path) -> None:
    store, (run,) = make_store(
        tmp_path, resources={"training": {"processes": 4}, "certification": {"processes": 4}}
    )
    (model,) = store.runs("models")
    for one in (model, run):
        took(one, 10)
    assert task_hours(model) == pytest.approx(40 / 3600)
    assert task_hours(run) == pytest.approx(10 / 3600)


def test_matplotlib_and_pandas_load_only_when_they_are_needed() -> None:
    code = (
        "import sys, rsctl.results; early = 'numpy' in sys.modules; rsctl.results.open; "
        "import rsctl.report.figures.draw, rsctl.report.tables.formats, rsctl.report.compare.pairs; "
        "sys.exit(early or any(name in sys.modules for name in ('matplotlib', 'pandas', 'scipy.stats', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# ---------------------------------------------------------------- notebooks


def test_a_run_as_arrays(tmp_path: Path) -> None:
    _, (run,) = make_store(tmp_path)
    opened = rsctl.results.open(run.path)
    assert isinstance(opened, rsctl.results.RunResults)
    table = read_table(run)
    certified = find_certificate("cohen").certify(table.counts(), 0.001)
    assert (opened.radius == certified.radius).all()
    assert (opened.counts == table.rows.counts).all()
    right = certified.predicted == table.rows.label
    assert opened.certified_accuracy([0, 0.25]).tolist() == [
        (right & (certified.radius >= r)).mean() for r in (0, 0.25)
    ]
    assert opened.acr == pytest.approx((right * certified.radius).mean())
    other = opened.certify("cohen", 0.05)
    assert (other.radius >= opened.radius).all()
    again = rsctl.results.open(run.path, alpha=0.05)
    assert isinstance(again, rsctl.results.RunResults)
    assert (again.radius == other.radius).all()
    assert repr(opened) == f"<RunResults {run.id}: {len(opened.index)} images, cohen>"


def test_a_sweep_as_rows_and_runs(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path, grid={"sigma": [0.25, 0.5]})
    log = tmp_path / "sigma_0.5.tsv"
    log.write_text(LOG)
    import_logs(store, "sweep", [log], GivenFacts(dataset="digits"))
    sweep = rsctl.results.open(str(tmp_path / "sweeps" / "sweep"))
    assert isinstance(sweep, rsctl.results.SweepResults)
    assert {row["radius"] for row in sweep.rows([0.0, 0.1])} == {0.0, 0.1}
    assert [one.about.run for one in sweep.runs[:2]] == [run.id for run in runs]
    imported = sweep.runs[2]
    assert imported.certified_accuracy([0.5]).tolist() == [1 / 3]
    with pytest.raises(InputError, match="no counts"):
        _ = imported.counts
    with pytest.raises(InputError, match="is not a result"):
        rsctl.results.open(tmp_path)


def test_frames_where_pandas_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="pandas isn't installed")
    _, (run,) = make_store(tmp_path)
    sweep = rsctl.results.open(tmp_path / "sweeps" / "sweep")
    assert list(sweep.frame()["radius"]) == [0.0, 0.25, 0.5]
    assert len(rsctl.results.open(run.path).frame()) == 360
