"""Cascades in the dashboard: composed in the form, and shown beside the runs of their sweep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tomli
from chain import Chain
from dashboard_store import Synthetic
from piloting import on_screen, until

from rsctl.config.sweep import load_sweep
from rsctl.errors import InputError
from rsctl.plan.commit import commit
from rsctl.plan.plan import make_plan
from rsctl.results.sweep import sweep_results
from rsctl.tui.app import Dashboard
from rsctl.tui.compose.draft import START, Draft
from rsctl.tui.compose.fields import Field
from rsctl.tui.compose.form import compose
from rsctl.tui.curves import Curves
from rsctl.tui.results.reader import Question, compare_runs
from rsctl.tui.sweeps.actions import NO_TASKS, _to_cancel
from rsctl.tui.views import RunView
from rsctl.tui.watch import Watcher
from rsctl.tui.widgets.grid import Grid

CASCADE: dict[str, Any] = {"levels": [0.25, 0.5], "tau": 0.9}


def field(draft: Draft, key: str) -> Field:
    composed = compose(draft)
    return next(one for section in composed.sections for one in section.fields if one.key == key)


def test_a_section_for_each_cascade_with_problems_at_its_fields(chain: Chain) -> None:
    draft = Draft({**START, "cascade": CASCADE})
    composed = compose(draft)
    assert [section.title for section in composed.sections if section.title.startswith("Cascade")] == [
        "Cascade"
    ]
    assert "cascade gaussian σ = 0.25 → 0.5, τ = 0.9" in composed.plan
    assert field(draft, "cascade.0.levels").value == "0.25, 0.5"
    draft.tables("cascade").append({"levels": [0.25, 1.0], "tau": 0.4})
    assert "threshold in [0.5, 1)" in field(draft, "cascade.1.tau").problem
    draft.put("cascade.1.tau", 0.8, grid=False)
    assert "no run with these settings at σ = 1" in field(draft, "cascade.1.levels").problem


def test_what_is_typed_is_what_the_file_has(chain: Chain) -> None:
    draft = Draft({**START, "cascade": CASCADE})
    levels, tau = field(draft, "cascade.0.levels"), field(draft, "cascade.0.tau")
    typed = '0.25, {method = "gaussian", sigma = 0.5}, "run-id"'
    value, grid = levels.parse(typed)
    assert (value, grid) == ([0.25, {"method": "gaussian", "sigma": 0.5}, "run-id"], False)
    draft.put("cascade.0.levels", value, grid=False)
    again = tomli.loads(draft.toml())["cascade"]
    assert again == [{"levels": value, "tau": 0.9}]
    assert Draft({"cascade": again}).raw["cascade"] == again
    assert tau.parse("0.9, 0.8") == ([0.9, 0.8], False), "a list of thresholds is no grid"
    with pytest.raises(InputError, match=r"threshold in \[0\.5, 1\)"):
        tau.parse("0.3")
    with pytest.raises(InputError, match="two levels at least"):
        levels.parse("0.25")


def test_a_cascade_is_added_and_removed_by_keys(synthetic: Synthetic, drive: Callable[..., None]) -> None:
    async def steps(app: Dashboard, pilot: Any) -> None:
        await pilot.press("3")
        await until(pilot, lambda: getattr(app.screen, "composed", None), "form")
        screen: Any = app.screen

        def shown() -> bool:
            return any(section.title == "Cascade" for section in screen.composed.sections)

        await pilot.press("L")
        await until(pilot, shown, "section of the cascade")
        assert screen.work.draft.raw["cascade"] == [{"levels": [0.25, 0.5], "tau": 0.9}]
        screen.query_one(Grid).move_to("Cascade cascade.0.tau")
        await pilot.press("minus")
        await until(pilot, lambda: not shown(), "removal")
        assert "cascade" not in screen.work.draft.plain()

    drive(steps)


@pytest.fixture
def cascaded(synthetic: Synthetic) -> Synthetic:
    """The finished sweep, with a cascade of its two runs."""
    file = synthetic.place.store.parent / "finished.toml"
    file.write_text(file.read_text() + "\n[[cascade]]\nlevels = [0.25, 0.5]\ntau = 0.7\n")
    commit(make_plan(load_sweep(file, synthetic.place.data), str(file)), synthetic.place, update=True)
    return synthetic


def rows_of(name: str) -> list[RunView]:
    return next(list(sweep.runs) for sweep in Watcher().poll().sweeps if sweep.name == name)


def test_the_dashboard_has_the_numbers_of_the_export(cascaded: Synthetic) -> None:
    first, second, cascade = rows_of("finished")
    assert cascade.name == "cascade σ 0.25 → 0.5 · τ 0.7"
    assert cascade.title == "gaussian · cascade σ 0.25 → 0.5 · τ 0.7"
    assert {task.key for task in cascade.tasks} == {task.key for run in (first, second) for task in run.tasks}
    (row,) = sweep_results(cascaded.store, "finished").cascades
    store, curves = str(cascaded.place.store), Curves()
    for certificate, alpha in ((None, None), ("hoeffding", None)):
        curve = curves.of(store, cascade, certificate, alpha)
        assert (curve.acr, curve.images, curve.alpha, curve.certificate) == (row.acr, 60, 0.001, "cascade")
        assert [one[:2] for one in curve.columns] == [(cell.radius, cell.accuracy) for cell in row.cells]
        assert "of the cascade of σ = 0.25 → 0.5 (τ = 0.7)" in curve.guarantee
    (other,) = sweep_results(cascaded.store, "finished", alpha=0.01).cascades
    assert curves.of(store, cascade, None, 0.01).acr == other.acr != row.acr
    images = curves.samples(store, cascade, "cascade", 0.001)
    assert [(one.index, one.radius) for one in images] == list(zip(row.index.tolist(), row.certified.radius.tolist(), strict=True))  # fmt: skip
    compared = compare_runs(Question("finished", "", 0.0), cascade, second)
    assert compared.title == f"{cascade.title} against {second.title}"


def test_a_cascade_is_a_row_without_tasks_of_its_own(cascaded: Synthetic, drive: Callable[..., None]) -> None:
    async def steps(app: Dashboard, pilot: Any) -> None:
        sweep = next(sweep for sweep in app.overview.sweeps if sweep.name == "finished")  # type: ignore[union-attr]
        assert sweep.counts == "2 runs, 1 cascade"
        own = [task for run in sweep.runs if not run.derived for task in run.tasks]
        assert len(sweep.tasks) == len({task.key for task in own})
        screen: Any = app.screen
        grid = screen.query_one(Grid)
        grid.move_to("finished")
        await pilot.press("right")
        await until(
            pilot,
            lambda: any("cascade σ 0.25 → 0.5" in line for line in on_screen(app)),
            "row of the cascade",
        )
        grid.move_to(sweep.runs[-1].key)
        said: list[str] = []
        screen.report = said.append
        for key in ("x", "r"):
            await pilot.press(key)
        await until(pilot, lambda: len(said) == 2, "messages")
        assert set(said) == {NO_TASKS}
        await pilot.press("d")
        await until(
            pilot, lambda: any("of all levels together" in line for line in on_screen(app)), "details"
        )

    drive(steps, (200, 40))


def test_tasks_of_a_level_in_another_sweep_are_not_counted_in_this_one(synthetic: Synthetic) -> None:
    file = synthetic.place.store.parent / "going.toml"
    level = '{ sweep = "finished", sigma = 0.5 }'
    file.write_text(file.read_text() + f"\n[[cascade]]\nlevels = [0.12, {level}]\ntau = 0.7\n")
    plan = make_plan(load_sweep(file, synthetic.place.data), str(file), synthetic.store)
    commit(plan, synthetic.place, update=True)
    sweep = next(sweep for sweep in Watcher().poll().sweeps if sweep.name == "going")
    *runs, cascade = sweep.runs
    assert set(sweep.tasks) == {task for run in runs for task in run.tasks}
    other = {f"counts/{synthetic.counts('finished')[1].id}/{number}" for number in (0, 1)}
    assert other < {task.key for task in cascade.tasks}
    assert cascade.name == "gaussian σ 0.12 → gaussian (sweep finished) σ 0.5 · cascade · τ 0.7"


def test_a_run_is_cancelled_with_its_model_though_a_cascade_has_it(cascaded: Synthetic) -> None:
    sweep = next(sweep for sweep in Watcher().poll().sweeps if sweep.name == "finished")
    names, _, shared = _to_cancel(sweep, sweep.runs[1], None)
    assert not shared
    assert names == [sweep.runs[1].model, sweep.runs[1].counts]
