"""Networks that learned nothing, seeds that are missing, and over how many a number is a mean: every table says so."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain import Chain, tiny
from report_cases import make_row, make_store, write_counts
from test_report_formats import results, table

import rsctl.results
from rsctl.cli.app import run
from rsctl.config.permutation import images_of
from rsctl.report.compare.pairs import compare, comparison_text
from rsctl.report.figures.line_styles import label
from rsctl.report.figures.series import collect
from rsctl.report.radius_logs.export_logs import export_logs
from rsctl.report.radius_logs.import_logs import GivenFacts, import_logs
from rsctl.report.tables.formats import render
from rsctl.results.opening import open_run
from rsctl.results.sweep import sweep_results
from rsctl.store import degenerate
from rsctl.store.attempts import Claim, here
from rsctl.store.layout import Run, Store
from rsctl.tui.watch import Watcher

SEEDS = {"grid": {"seed": [0, 1]}}
IMAGES = {"n0": 10, "n": 1000, "certificates": ["cohen"], "radii": [0.0, 0.25], "max_images": 40}


def images(run: Run) -> list[int]:
    return [image for task in run.task_numbers() for image in run.images(task)]


def store_of(root: Path, skills: dict[int, int | None], **raw: Any) -> tuple[Store, list[Run]]:
    """Runs by their place, those in `skills` with counts: of one class alone, or (None) as usual."""
    store, runs = make_store(root, counts=False, certification=IMAGES, **raw)
    for place, only in skills.items():
        write_counts(runs[place], images(runs[place]), only=only, seed=place)
    return store, runs


def test_one_class_for_every_image_is_marked_in_every_form(tmp_path: Path) -> None:
    store, runs = store_of(tmp_path, {0: 3})
    found = sweep_results(store, "sweep")
    network = runs[0].count_spec.model_run
    sentence = f"{network} LEARNED NOTHING: ONE CLASS: the network predicts class 3 for all 40 images, which belong to 10 classes."
    assert found.notes[0].startswith(sentence)
    assert table(render(found, "md"))[1][0] == "gaussian (ONE CLASS)"
    assert "gaussian (ONE CLASS)" in render(found, "latex")
    for row in [
        *csv.DictReader(io.StringIO(render(found, "csv"))),
        *json.loads(render(found, "json"))["rows"],
    ]:
        assert row["settings"] == "gaussian (ONE CLASS)"
        assert row["learned_nothing"] == "predicts class 3 for all 40 images, which belong to 10 classes"
    (panel,), _ = collect(store, "sweep")
    assert "ONE CLASS" in label(panel.series[0], panel)


def test_an_exported_log_has_the_name_of_the_method_without_the_mark(tmp_path: Path) -> None:
    store, _ = store_of(tmp_path, {0: 3})
    export_logs(store, "sweep", tmp_path / "logs")
    other = Store(tmp_path / "other")
    import_logs(other, "theirs", [tmp_path / "logs"], GivenFacts())
    assert table(render(sweep_results(other, "theirs"), "md"))[1][0] == "gaussian (log, ONE CLASS)"


def test_a_network_that_learned_is_not(tmp_path: Path) -> None:
    store, _ = store_of(tmp_path, {0: None})
    found = sweep_results(store, "sweep")
    assert "NOTHING" not in "".join(found.notes)
    assert json.loads(render(found, "json"))["rows"][0]["learned_nothing"] is None
    assert next(csv.DictReader(io.StringIO(render(found, "csv"))))["learned_nothing"] == ""


def test_a_finished_beginning_of_one_class_says_nothing_yet(tmp_path: Path) -> None:
    """Counts of images with one label alone, all of them rightly classified."""
    store, runs = store_of(tmp_path, {})
    order = images_of(360, 0.0, 0, 1, 40)
    alike = next(count for count in range(1, 40) if len({image * 7 % 10 for image in order[:count]}) > 1) - 1
    write_counts(runs[0], order[:alike], only=order[0] * 7 % 10)
    (row,) = sweep_results(store, "sweep").rows
    assert (row.images, row.degenerate) == (alike, None)


def test_seeds_of_which_one_is_dead(tmp_path: Path) -> None:
    store, runs = store_of(tmp_path, {0: None, 1: 7}, **SEEDS)
    found = sweep_results(store, "sweep")
    assert table(render(found, "md"))[1][0] == "gaussian (ONE CLASS in 1 of 2 seeds)"
    assert len([note for note in found.notes if "LEARNED NOTHING" in note]) == 1
    assert runs[1].count_spec.model_run in found.notes[0]


def test_a_training_that_ended_at_chance_marks_its_tables(tmp_path: Path) -> None:
    store, runs = store_of(tmp_path, {0: None})
    folder = store.run("models", runs[0].count_spec.model_run).path
    degenerate.write(folder, degenerate.Tally([100, 100], [60, 140], [30, 70]), training=True)
    found = sweep_results(store, "sweep")
    assert table(render(found, "md"))[1][0] == "gaussian (AT CHANCE)"
    assert "at the end of training is correct on 100 of 200 images; chance level is 100" in found.notes[0]


def test_a_dead_network_is_never_the_best(tmp_path: Path) -> None:
    store, _ = store_of(tmp_path, {0: None, 1: None, 2: 0}, grid={"sigma": [0.25, 0.5, 1.0]})
    found = sweep_results(store, "sweep")
    # Its share of class 0 is certified far out.
    assert found.rows[2].cells[1].accuracy > 0
    best = json.loads(render(found, "json"))["best_sigmas"]
    assert {one["settings"] for one in best} == {"gaussian"}
    alive = make_row("b", (0.2,))
    dead = make_row("c", (0.9,), degenerate=degenerate.Verdict("ONE CLASS", "predicts class 0 for all"))
    assert "textbf" not in render(results(alive, dead), "latex")
    assert "textbf{90.0}" in render(results(alive, make_row("c", (0.9,))), "latex")


def test_a_log_of_one_class(tmp_path: Path) -> None:
    lines = ["idx\tlabel\tpredict\tradius\tcorrect\ttime"]
    lines += [f"{i}\t{i % 10}\t4\t0.9\t{int(i % 10 == 4)}\t0:00:01" for i in range(60)]
    file = tmp_path / "sigma_0.5"
    file.write_text("\n".join(lines) + "\n")
    store = Store(tmp_path / "store")
    said = GivenFacts(method="theirs", dataset="cifar10", sigma=0.5, n=100_000, n0=100, alpha=0.001)
    import_logs(store, "logs", [file], said)
    found = sweep_results(store, "logs")
    assert "theirs (log, ONE CLASS)" in render(found, "md").replace("\\", "")
    assert "predicts class 4 for all 60 images, which belong to 10 classes" in " ".join(found.notes)


def test_comparisons_and_notebooks_say_it(tmp_path: Path) -> None:
    store, runs = store_of(tmp_path, {0: None, 1: 7}, **SEEDS)
    first, second = (open_run(store, one.id) for one in runs)
    assert f"{runs[1].id} LEARNED NOTHING" in comparison_text(compare(store, first, second))
    alive, dead = rsctl.results.open(store.sweep_folder("sweep")).runs
    assert alive.learned_nothing == ""
    assert dead.learned_nothing.startswith("ONE CLASS: the network predicts class 7")
    assert "LEARNED NOTHING" in repr(dead)


# ---------------------------------------------------------------- seeds


def fail(store: Store, run: Run, why: str) -> None:
    Claim.take(store.run("models", run.count_spec.model_run), 0, here()).end("failed", why)


def test_a_seed_that_failed_is_missing_and_the_other_is_shown(tmp_path: Path) -> None:
    store, runs = store_of(tmp_path, {0: None}, **SEEDS)
    fail(store, runs[1], "training diverged: the loss is nan at step 7.")
    found = sweep_results(store, "sweep")
    alone = store_of(tmp_path / "alone", {0: None}, name="sweep")[0]
    header, line = table(render(found, "md"))
    usual = table(render(sweep_results(alone, "sweep"), "md"))[1]
    assert line[header.index("Seed")] == "0 (1 missing)"
    assert (
        line[header.index("0") : header.index("Images")] == usual[header.index("0") : header.index("Images")]
    )
    assert line[header.index("0")] != "–"
    told = "gaussian, σ = 0.5: of 2 seeds, seed 1 is missing (its training failed: training diverged: the loss is nan at step 7); the numbers are over seed 0."
    assert told in found.notes
    assert "seed 0 (1 missing)" in render(found, "latex")
    assert "deviation" not in render(found, "md")
    lines = json.loads(render(found, "json"))["lines"]
    assert {(one["seeds"], one["missing_seeds"]) for one in lines} == {(1, 1)}
    (panel,), _ = collect(store, "sweep")
    assert label(panel.series[0], panel) == "gaussian, seed 0 (1 missing)"


def test_a_seed_that_has_not_begun_and_two_that_are_there(tmp_path: Path) -> None:
    store, _ = store_of(tmp_path, {0: None, 2: None}, grid={"seed": [0, 1, 2]})
    found = sweep_results(store, "sweep")
    header, line = table(render(found, "md"))
    assert "Seed 2 seeds (1 missing)" in render(found, "md").replace("\\", "")
    assert "±" in line[header.index("0")]
    assert "mean ± standard deviation over 2 training seeds" in render(found, "md")
    assert "over 2 seeds (1 missing)" in render(found, "latex")
    assert any(
        "of 3 seeds, seed 1 is missing (no finished image yet); the numbers are over seeds 0, 2" in note
        for note in found.notes
    )


def test_where_no_seed_has_an_image_none_is_missing(tmp_path: Path) -> None:
    store, _ = store_of(tmp_path, {}, **SEEDS)
    found = sweep_results(store, "sweep")
    assert table(render(found, "md"))[1][3] == "2 seeds"
    assert not any("missing" in note for note in found.notes)


def test_what_is_a_mean_says_over_how_many_in_markdown_as_in_latex() -> None:
    rows = [make_row(accuracies=(a, a / 2), sigma=s, seed=i, cap_share=0.1, clean_accuracy=0.8) for s in (0.25, 0.5) for i, a in enumerate((0.5, 0.6, 0.7))]  # fmt: skip
    seeds = "3 training seeds"
    text = render(results(*rows), "md")
    assert (
        f"mean ± standard deviation over {seeds}; Clean, Abstain and At cap the mean over them alone." in text
    )
    assert (
        f"The best σ (in brackets) for each radius, chosen by the mean over {seeds} on these images among finished lines."
        in text
    )
    tex = render(results(*rows), "latex")
    assert "mean $\\pm$ standard deviation over 3 seeds" in tex
    assert f"Clean, Abstain and At cap: mean over {seeds}." in tex
    assert (
        f"chosen by the mean over {seeds} on these images among finished lines; all else as in Table" in tex
    )
    assert {one["seeds"] for one in json.loads(render(results(*rows), "json"))["best_sigmas"]} == {3}
    uneven = render(results(*rows[:5], make_row("b", (0.5, 0.4))), "md")
    assert "Numbers of a line with several: mean ± standard deviation over 2 to 3 training seeds" in uneven


def test_one_seed_each_is_no_mean() -> None:
    rows = [make_row(accuracies=(0.5,), sigma=s, cap_share=0.1) for s in (0.25, 0.5)]
    for form in ("md", "latex"):
        text = render(results(*rows), form)
        assert "mean" not in text
        assert "training seeds" not in text


# ---------------------------------------------------------------- a real training


def test_a_training_that_dies_is_said_wherever_one_looks(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = {"epochs": 2, "lr": 30.0, "schedule": "constant", "warmup_epochs": 0.0, "gradient_clip": 1.0}
    chain.run_all(tiny(training=dead, certification={"max_images": 30, "shards": 1}))
    (model,), (counts,) = chain.store.runs("models"), chain.store.runs("counts")
    assert degenerate.of_folder(model.path).mark in ("ONE CLASS", "AT CHANCE")
    assert degenerate.of_folder(counts.path).text.startswith("predicts class ")
    assert "warning: the network learned nothing: " in capsys.readouterr().out
    assert run(["status", "tiny"]) == 0
    out = capsys.readouterr().out
    assert "1 network LEARNED NOTHING" in out.splitlines()[0]
    assert out.count("        LEARNED NOTHING: ") == 2
    assert run(["status"]) == 0
    assert "1 network LEARNED NOTHING" in capsys.readouterr().out
    assert run(["status", "tiny", "--json"]) == 0
    (sweep,) = json.loads(capsys.readouterr().out)["sweeps"]
    assert set(sweep["learned_nothing"]) == {f"models/{model.id}", f"counts/{counts.id}"}
    assert all(one["learned_nothing"] for one in sweep["runs"])
    (view,) = Watcher().poll().sweeps[0].runs
    assert "the network" in view.warning


def test_a_training_that_goes_well_is_said_nowhere(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    chain.run_all(tiny(training={"epochs": 4}, certification={"max_images": 30, "shards": 1}, sigma=0.25))
    (model,), (counts,) = chain.store.runs("models"), chain.store.runs("counts")
    assert json.loads((model.path / degenerate.FILE).read_text())["training"] is True
    assert sum(json.loads((counts.path / degenerate.FILE).read_text())["labels"]) == 30
    assert run(["status", "tiny"]) == 0
    assert "NOTHING" not in capsys.readouterr().out
    assert np.all([not run_.warning for run_ in Watcher().poll().sweeps[0].runs])
