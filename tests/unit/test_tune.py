"""Cascades chosen on held-out images: what is printed, and how tables show where they were chosen."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import tomli
from chain import Chain, tiny
from report_cases import N0, N, make_store

from rsctl.certificates.cascade import Cascade
from rsctl.certificates.cascade_search import CascadeObjective
from rsctl.cli.app import run as rsctl
from rsctl.errors import InputError
from rsctl.report.compare.pairs import compare, comparison_text
from rsctl.report.figures.series import collect
from rsctl.report.figures.titles import titles
from rsctl.report.tables.formats import FORMATS, render
from rsctl.results.opening import open_run
from rsctl.results.sweep import sweep_results
from rsctl.results.tune import TunedCascade, tune_cascades
from rsctl.store.layout import Store
from rsctl.store.tuned import noise_key_of
from rsctl.tui.curves import Curves
from rsctl.tui.watch import Watcher

GOAL = CascadeObjective(((0.5, 1.0),))
MARK = "tuned on these images"
CERTIFICATION = {"n0": N0, "n": N, "certificates": ["cohen"], "radii": [0.0, 0.25, 0.5]}


@pytest.fixture
def store(tmp_path: Path, chain: Chain) -> Store:
    """Made-up counts of three levels on held-out images, and of the same levels on test images."""
    grid = {"sigma": [0.25, 0.5, 1.0]}
    root = chain.store.root
    make_store(root, name="held-out", grid=grid, certification={**CERTIFICATION, "split": "val"})
    found, _ = make_store(root, name="tested", grid=grid, certification=CERTIFICATION)
    return found


@pytest.fixture
def choice(store: Store) -> TunedCascade:
    (found,), _ = tune_cascades(store, "held-out", GOAL)
    return found


def rule(choice: TunedCascade) -> Cascade:
    return Cascade(choice.sigmas, choice.taus)


def test_the_value_is_that_of_the_table_of_the_chosen_cascade(store: Store, choice: TunedCascade) -> None:
    results = sweep_results(store, "held-out", cascade=rule(choice), certificate="runner-up")
    assert results.cascades[0].cells[2].accuracy == choice.value
    alone = {row.sigma: row.cells[2].accuracy for row in results.rows}
    assert {sigma: value for sigma, value in choice.alone if sigma in alone} == alone
    assert choice.better == (choice.value > choice.alone[0][1])
    assert [value for _, value in choice.alone] == sorted((value for _, value in choice.alone), reverse=True)
    assert tune_cascades(store, "held-out", GOAL)[0] == [choice], "the same choice every time"


def test_a_table_of_a_cascade_chosen_on_its_images_marks_it(store: Store, choice: TunedCascade) -> None:
    results = sweep_results(store, "held-out", cascade=rule(choice))
    (row,) = results.cascades
    assert MARK in row.name
    assert row.guarantee.startswith("heuristic, no guarantee, of the cascade of σ = ")
    assert row.guarantee.endswith("(chosen by these draws)")
    assert row.failure is None
    for form in FORMATS:
        assert MARK in render(results, form), form
    lines = list(csv.DictReader(io.StringIO(render(results, "csv"))))
    ours = [line for line in lines if line["certificate"] == "cascade"]
    assert len(ours) == 3
    assert all("no guarantee" in line["guarantee"] for line in ours)
    (note,) = [one for one in results.notes if "its numbers are those of a choice, not a test result" in one]
    assert f"{choice.images} val images of the sweep 'held-out' for the certified accuracy at 0.5" in note
    panels, _ = collect(store, "held-out", cascade=rule(choice))
    assert MARK in titles(panels, "curve")[1]

    other = sweep_results(store, "held-out", cascade=Cascade(choice.sigmas, (0.987,) * len(choice.taus)))
    assert MARK not in other.cascades[0].name
    assert other.cascades[0].guarantee.startswith("probabilistic")


def test_a_table_of_other_images_names_the_origin_and_keeps_the_guarantee(
    store: Store, choice: TunedCascade
) -> None:
    results = sweep_results(store, "tested", cascade=rule(choice))
    (row,) = results.cascades
    assert MARK not in row.name
    assert row.guarantee.startswith("probabilistic 0.999")
    assert row.failure == 0.001
    told = [one for one in results.notes if "none of which is in this table" in one]
    assert len(told) == 1
    assert "sweep 'held-out'" in told[0]


def test_a_table_with_another_held_out_share_has_images_and_draws_of_the_choice(
    store: Store, choice: TunedCascade
) -> None:
    larger = {**CERTIFICATION, "split": "val", "val_share": 0.2}
    make_store(store.root, name="larger", grid={"sigma": [0.25, 0.5, 1.0]}, certification=larger)
    results = sweep_results(store, "larger", cascade=rule(choice))
    (row,) = results.cascades
    assert MARK in row.name
    assert row.guarantee.endswith("(chosen by these draws)")
    assert not [one for one in results.notes if "none of which is in this table" in one]


def test_the_same_draws_on_other_images_leave_no_guarantee(store: Store, choice: TunedCascade) -> None:
    """Older versions gave held-out images the noise of test images at the same positions."""
    (before,) = sweep_results(store, "tested", cascade=rule(choice)).cascades
    file = store.sweep_folder("held-out") / "tuned.json"
    record = json.loads(file.read_text())
    record["choices"][0]["noise"] = [noise_key_of(before.table_spec)]
    for images, kind in ((before.index, "heuristic"), (before.index + 10_000, "probabilistic")):
        record["choices"][0]["images"] = images.tolist()
        file.write_text(json.dumps(record))
        (row,) = sweep_results(store, "tested", cascade=rule(choice)).cascades
        assert MARK not in row.name
        assert row.guarantee.startswith(kind)


def test_the_dashboard_marks_a_cascade_that_these_draws_chose(store: Store, choice: TunedCascade) -> None:
    block = {"levels": list(choice.sigmas), "tau": choice.taus[0]}
    certification = {**CERTIFICATION, "split": "val"}
    grid = {"sigma": [0.25, 0.5, 1.0]}
    make_store(store.root, name="shown", grid=grid, certification=certification, cascade=block, counts=False)
    views = [view for view in Watcher().poll().sweeps if view.name == "shown"]
    (run,) = [one for view in views for one in view.runs if one.derived]
    curve = Curves().of(str(store.root), run)
    assert curve.guarantee.endswith("(chosen by these draws)"), curve.problems


def test_counts_of_other_noise_on_the_same_images_keep_the_guarantee(
    store: Store, choice: TunedCascade
) -> None:
    again = {**CERTIFICATION, "split": "val", "seed": 1}
    make_store(store.root, name="again", grid={"sigma": [0.25, 0.5, 1.0]}, certification=again)
    (row,) = sweep_results(store, "again", cascade=rule(choice)).cascades
    assert MARK in row.name
    assert row.guarantee.startswith("probabilistic 0.999")


def test_a_comparison_names_the_origin(store: Store, choice: TunedCascade) -> None:
    (row,) = sweep_results(store, "held-out", cascade=rule(choice)).cascades
    first, second = open_run(store, row.run), open_run(store, row.levels[0].run)
    assert MARK in first.name
    assert "its numbers are those of a choice" in comparison_text(compare(store, first, second, None))


def test_every_method_and_its_seeds(tmp_path: Path) -> None:
    store, _ = make_store(
        tmp_path / "store", method=["gaussian", {"name": "consistency", "grid": {"lbd": [1.0, 5.0]}}],
        grid={"sigma": [0.25, 0.5], "seed": [0, 1]}, certification={**CERTIFICATION, "split": "val"},
    )  # fmt: skip
    found, notes = tune_cascades(store, "sweep", GOAL)
    assert [(one.method, one.seeds) for one in found] == [
        ("gaussian", 2), ("consistency (lbd=1)", 2), ("consistency (lbd=5)", 2),
    ]  # fmt: skip
    assert any("means over 2 training seeds" in note for note in notes)
    results = sweep_results(store, "sweep", cascade=rule(found[0]))
    mean = sum(row.cells[2].accuracy for row in results.cascades if row.method == "gaussian") / 2
    assert found[0].value == pytest.approx(mean)
    assert [one.method for one in tune_cascades(store, "sweep", GOAL, methods=["gaussian"])[0]] == [
        "gaussian"
    ]
    with pytest.raises(InputError, match="--method"):
        tune_cascades(store, "sweep", GOAL, methods=["macer"])


def test_test_images_are_refused_with_the_way_to_held_out_ones(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rsctl(["tune", "tested", "--for", "0.5"]) == 2
    told = capsys.readouterr().err
    assert 'add split = "val" to [certification], and submit it' in told
    assert not (store.sweep_folder("tested") / "tuned.json").exists()


def test_one_noise_level_is_no_cascade(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path / "store", certification={**CERTIFICATION, "split": "val"})
    with pytest.raises(InputError, match="no method has counts at two noise levels"):
        tune_cascades(store, "sweep", GOAL)


def test_the_printed_block_is_toml_with_its_origin(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    goal = "0:1,0.5:1"
    assert rsctl(["tune", "held-out", "--for", goal, "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert rsctl(["tune", "held-out", "--for", goal]) == 0
    text = capsys.readouterr().out
    assert one["better"], "the made-up counts make a cascade worth it"
    (block,) = tomli.loads(text)["cascade"]
    origin = {"sweep": "held-out", "split": "val", "images": 144}
    assert block == {
        "levels": one["levels"], "tau": one["taus"][0],
        "tuned": {**origin, "objective": "mean certified accuracy at 0 (weight 1), 0.5 (weight 1)"},
    }  # fmt: skip
    assert all(f"σ = {sigma:g} alone" in text for sigma in (0.25, 0.5, 1.0))


@pytest.mark.parametrize(("split", "marked"), [("val", True), ("test", False)])
def test_a_sweep_file_with_the_block_names_its_origin_where_the_store_knows_none(
    tmp_path: Path, split: str, marked: bool
) -> None:
    origin = {"sweep": "elsewhere", "split": "val", "images": 77, "objective": "average certified radius"}
    store, _ = make_store(
        tmp_path / "store", grid={"sigma": [0.25, 0.5]}, certification={**CERTIFICATION, "split": split},
        cascade=[{"levels": [0.25, 0.5], "tau": 0.8, "tuned": origin}],
    )  # fmt: skip
    results = sweep_results(store, "sweep")
    (row,) = results.cascades
    assert (MARK in row.name) == marked
    # Nothing here records the draws that chose it: on such images they may be these.
    assert row.guarantee.startswith("heuristic" if marked else "probabilistic 0.999")
    assert row.guarantee.endswith("(perhaps chosen by these draws)") == marked
    told = "chosen on 77 val images of the sweep 'elsewhere' for the average certified radius"
    assert len([one for one in results.notes if told in one]) == 1


def test_where_nothing_is_certified_no_choice_is_best(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rsctl(["tune", "held-out", "--for", "50"]) == 0
    out = capsys.readouterr().out
    assert "take a smaller radius" in out
    assert "is better" not in out
    assert not tomli.loads(out)


def test_levels_sampled_as_needed_choose_no_other_cascade(tmp_path: Path) -> None:
    cascade = {"levels": [0.25, 0.5], "tau": 0.8}
    store, _ = make_store(
        tmp_path / "store", grid={"sigma": [0.25, 0.5]}, certification={**CERTIFICATION, "split": "val"},
        cascade=[cascade, {**cascade, "order": "as-needed"}],
    )  # fmt: skip
    assert len(store.sweep("sweep")["entries"]) == 3
    ((found,), _) = tune_cascades(store, "sweep", GOAL)
    assert {sigma for sigma, _ in found.alone} == {0.25, 0.5}


def test_the_command_that_explain_names(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert rsctl(["explain", "cascade"]) == 0
    assert "rsctl tune SWEEP --for 0.5" in " ".join(capsys.readouterr().out.split())
    assert rsctl(["tune", "held-out", "--for", "0.5"]) == 0
    assert [one["objective"] for one in json.loads((store.sweep_folder("held-out") / "tuned.json").read_text())["choices"]] == [
        "certified accuracy at 0.5"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("goal", "told"),
    [
        ("half", "--for: 'half' is not a number such as 0.25"),
        ("-1", "is not a radius"),
        ("0.5:much", "--for: 'much' is not a weight such as 2"),
        ("0.5:0", "must be above 0 and finite"),
        ("0.5:1,0.5:2", "the radius 0.5 has two weights"),
    ],
)
def test_wrong_goals_exit_with_2(
    goal: str, told: str, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    chain.plan(tiny())
    assert rsctl(["tune", "tiny", f"--for={goal}"]) == 2
    assert told in capsys.readouterr().err


def test_a_damaged_record_of_choices_is_named_and_harms_no_table(store: Store, choice: TunedCascade) -> None:
    (store.sweep_folder("held-out") / "tuned.json").write_text('{"choices": [{"levels": "none"}]}')
    results = sweep_results(store, "held-out", cascade=rule(choice))
    assert MARK not in results.cascades[0].name
    assert any("tuned.json" in note for note in results.notes)
