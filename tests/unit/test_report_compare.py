"""Comparisons: the tests against values computed by hand or by other routes, and of what they may speak."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import product
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_cases import make_store, write_counts
from scipy.stats import ttest_ind

from rsctl.cli.app import run
from rsctl.config import tables
from rsctl.errors import InputError, RefusedError
from rsctl.report.baselines import Published, PublishedRow, beside, differences, matching, published_tables
from rsctl.report.compare.pairs import compare, comparison_text
from rsctl.report.compare.reproduce import ReproducedCell, apart, reproduce, reproduction_text, same_method
from rsctl.report.compare.significance import bootstrap, holm, mcnemar, welch
from rsctl.report.radius_logs.import_logs import GivenFacts, import_logs
from rsctl.results.opening import open_run
from rsctl.results.sweep import sweep_results
from rsctl.store.layout import Store

SEEDS = {"grid": {"seed": [0, 1, 2], "sigma": [0.25, 0.5]}}


def subjects(store: Store, runs: list[Any], sigma: float) -> list[Any]:
    return [open_run(store, one.id) for one in runs if one.count_spec.sigma == sigma]


def test_mcnemar_is_the_exact_binomial_test_of_the_discordant_images() -> None:
    first = np.array([1.0] * 9 + [0.1] * 2 + [1.0] * 5)
    second = np.array([0.1] * 9 + [1.0] * 2 + [1.0] * 5)
    one = mcnemar(first, second, [0.5])[0]
    assert (one.only_first, one.only_second) == (9, 2)
    assert one.p == pytest.approx(2 * sum(comb(11, i) for i in range(3)) / 2**11)
    assert mcnemar(first, first, [0.5])[0].p == 1.0


def test_a_radius_on_the_boundary_counts_in_comparisons_too() -> None:
    one = mcnemar(np.array([0.5]), np.array([0.49]), [0.5])[0]
    assert (one.only_first, one.only_second) == (1, 0)


def test_holm_against_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    # Rejecting at 5 % by the adjusted values is Holm's step-down procedure.
    for p in product((0.001, 0.012, 0.02, 0.049, 0.2), repeat=3):
        order = sorted(range(3), key=lambda i: p[i])
        rejected = set()
        for rank, i in enumerate(order):
            if p[i] > 0.05 / (3 - rank):
                break
            rejected.add(i)
        assert {i for i, value in enumerate(holm(p)) if value <= 0.05} == rejected


def test_the_bootstrap_covers_as_the_normal_interval_does_and_repeats() -> None:
    difference = np.random.default_rng(1).normal(0.1, 1, 2000)
    resamples, (low, high) = bootstrap(difference, 0)
    half = 1.96 * difference.std() / np.sqrt(2000)
    assert (low, high) == pytest.approx((difference.mean() - half, difference.mean() + half), abs=0.004)
    assert bootstrap(difference, 0) == (resamples, (low, high))


def test_welch_against_scipys() -> None:
    a, b = np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0, 7.0, 7.5])
    _, _, difference, low, high, p = welch(a, b)
    wanted = ttest_ind(a, b, equal_var=False)
    assert (difference, p) == pytest.approx((a.mean() - b.mean(), wanted.pvalue))
    assert (low, high) == pytest.approx(tuple(wanted.confidence_interval(0.95)))


def test_one_seed_each_speaks_of_two_models(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path, grid={"sigma": [0.25, 0.5]})
    found = compare(store, *(open_run(store, one.id) for one in runs))
    assert found.methods == []
    text = comparison_text(found)
    assert "THESE TWO MODELS" in text
    assert "no comparison of the two methods" in text
    assert "THE TWO METHODS" not in text
    assert any("sigma differs" in note for note in found.warnings)


def test_two_tables_of_one_model_are_not_two_models(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path, grid={"precision.certification": ["fp32", "bf16"]})
    found = compare(store, *(open_run(store, one.id) for one in runs))
    assert found.one_model
    text = comparison_text(found)
    assert "two ways to certify ONE MODEL" in text
    assert "TWO MODELS" not in text
    assert "METHODS" not in text


def test_three_seeds_each_speak_of_the_methods(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path, **SEEDS)
    found = compare(store, subjects(store, runs, 0.25)[0], subjects(store, runs, 0.5)[0], [0.0, 0.25])
    assert found.seeds == (3, 3)
    assert [one.what for one in found.methods] == ["ACR", "0", "0.25"]
    acr = [np.maximum(one.score, 0).mean() for one in subjects(store, runs, 0.25)]
    assert found.methods[0].first == pytest.approx(np.mean(acr))
    assert "THE TWO METHODS" in comparison_text(found)


def test_shares_are_rounded_down_as_in_tables(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path, grid={"sigma": [0.25, 0.5]})
    found = compare(store, *(open_run(store, one.id) for one in runs), [0.0])
    found.radii[0] = replace(found.radii[0], first=29 / 30, second=0.29)
    assert "96.66%   29.00%" in comparison_text(found)


def test_seeds_of_one_method_are_not_two_methods(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path, **SEEDS)
    same = subjects(store, runs, 0.25)
    assert compare(store, same[0], same[1]).methods == []


def test_only_images_that_both_have_are_compared(tmp_path: Path) -> None:
    store, runs = make_store(tmp_path, counts=False, grid={"sigma": [0.25, 0.5]})
    write_counts(runs[0], list(range(100)))
    write_counts(runs[1], list(range(50, 150)), seed=1)
    found = compare(store, *(open_run(store, one.id) for one in runs), [0.0])
    assert found.images == 50
    assert sum("50 of its images aren't in the other" in note for note in found.warnings) == 2
    assert sum("100 of 360 images finished" in note for note in found.warnings) == 2


def test_other_data_are_refused(tmp_path: Path) -> None:
    store, (one,) = make_store(tmp_path)
    log = tmp_path / "a_sigma_0.5.tsv"
    log.write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t5\t5\t0.5\t1\t1\n")
    import_logs(store, "p", [log], GivenFacts(dataset="cifar10", method="other"))
    import_logs(store, "p", [log], GivenFacts(dataset="digits", method="same"))
    with pytest.raises(RefusedError, match="dataset"):
        compare(store, open_run(store, one.id), open_run(store, "other"))
    with pytest.raises(RefusedError, match="labels"):
        compare(store, open_run(store, one.id), open_run(store, "same"))


def test_the_command_prints_one_json_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path))
    _, runs = make_store(tmp_path, grid={"sigma": [0.25, 0.5]})
    assert run(["compare", runs[0].id, str(runs[1].path), "--radii", "0,1/4", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["radius"] for one in document["radii"]] == [0, 0.25]
    assert document["speaks_of"] == "models"
    assert run(["compare", runs[0].id, str(runs[0].path)]) == 2
    assert f"both are {runs[0].id}" in capsys.readouterr().err
    assert run(["compare", "gaussian", "nothing"]) == 2
    assert "ambiguous" in capsys.readouterr().err
    assert (
        run(["compare", runs[0].count_spec.model_run, runs[1].id]) == 0
    )  # a model with one table stands for it


# ---------------------------------------------------------------- published numbers


def test_published_tables_are_whole_and_fall_with_the_radius() -> None:
    for table in published_tables().values():
        assert {
            "title",
            "citation",
            "source",
            "dataset",
            "split",
            "model",
            "n",
            "n0",
            "alpha",
            "images",
            "skip",
            "certificate",
        } <= set(table.values)
        assert table.rows
        assert table.radii == sorted(table.radii)
        for row in table.rows:
            assert len(row.certified) == len(table.radii)
            numbers = [value for value in row.certified if value is not None]
            assert all(0 <= value <= 100 for value in numbers)
            assert numbers == sorted(numbers, reverse=True), (table.name, row.method, row.sigma)
            # The curve falls, so its right and left sums bound the ACR, up to rounding and the last, open step.
            assert row.acr is None or 0 < row.acr < 4 * row.sigma


def test_published_numbers_of_the_cohen_logs() -> None:
    row = next(row for row in published_tables()["cohen2019-cifar10"].rows if row.sigma == 0.5)
    assert (row.certified, row.acr) == ([65.2, 54.6, 41.4, 32.0, 23.4, 9.4, 0, 0], 0.538)
    assert "0.01" in row.remark
    assert published_tables()["cohen2019-imagenet"].rows[0].images == 427


def test_baselines_warn_where_their_conditions_differ(tmp_path: Path) -> None:
    store, _ = make_store(
        tmp_path,
        dataset="cifar10",
        model="resnet110",
        counts=False,
        certification={"n": 1000, "skip": 20, "radii": [0.0]},
    )
    rows = sweep_results(store, "sweep").every
    (note,) = [note for note in beside(rows, matching(rows)) if note.startswith("salman2019-cifar10 ")]
    assert "n 100000 published, 1000 here" in note
    assert "images 10000 published, 0 here" in note
    assert "alpha" not in note
    assert "arithmetic" not in note
    exact = replace(rows[0], spec=rows[0].table_spec.model_copy(update={"arithmetic": "exact"}))
    assert "arithmetic float published, exact here" in differences(
        [exact], published_tables()["salman2019-cifar10"]
    )
    assert not matching(sweep_results(make_store(tmp_path / "d")[0], "sweep").every)
    assert differences([], published_tables()["salman2019-cifar10"]) == []


def test_baselines_come_on_request_and_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path))
    make_store(
        tmp_path,
        dataset="cifar10",
        model="resnet110",
        counts=False,
        certification={"n": 1000, "radii": [0.0]},
    )
    assert run(["export", "sweep"]) == 0
    assert "Published" not in capsys.readouterr().out
    assert run(["export", "sweep", "--baselines"]) == 0
    assert "Published, not measured here" in capsys.readouterr().out
    assert run(["export", "sweep", "--baselines", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {row["source"] for row in document["rows"]} == {"rsctl"}
    assert {row["source"] for table in document["baselines"] for row in table["rows"]} == {"published"}
    for form in ("latex", "csv"):
        assert run(["export", "sweep", "--baselines", "--format", form]) == 0
    capsys.readouterr()
    assert len(document["baselines"]) > 1
    assert run(["export", "sweep", "--baseline", "cohen2019-cifar10", "--format", "json"]) == 0
    (only,) = json.loads(capsys.readouterr().out)["baselines"]
    assert only["name"] == "cohen2019-cifar10"
    assert run(["export", "sweep", "--baseline", "cohen2020"]) == 2
    assert "--baseline: unknown published table 'cohen2020'" in capsys.readouterr().err


# ---------------------------------------------------------------- reproduce


def test_methods_answer_to_their_published_names() -> None:
    assert same_method("SmoothAdv (PGD, 10 steps)", "smooth-adv")
    assert same_method("Basic", "gaussian")
    assert not same_method("Gaussian", "smoothadv")


def test_a_published_number_is_inside_up_to_its_own_rounding() -> None:
    assert ReproducedCell(0.0, 81, 79.0, 77.0, 80.6, decimals=0).inside  # whole per cent: it may be 80.5
    # A whole number of a table with one decimal is 81.0: it isn't 80.5.
    assert not ReproducedCell(0.0, 81, 79.0, 77.0, 80.6, decimals=1).inside
    assert not ReproducedCell(0.0, 81.2, 79.0, 77.0, 80.6).inside
    assert ReproducedCell(0.0, 80.7, 79.0, 77.0, 80.66).inside


def test_a_table_rounds_as_its_most_exact_number_does() -> None:
    def table(*certified: float | None, acr: float = 0.5) -> Published:
        return Published("t", {}, [PublishedRow("m", 0.5, list(certified), acr, 500, "a table", False)])

    assert table(73, 65.2, None).decimals == 1
    assert table(73.0, 65.0).decimals == 0
    assert table(73, 65.25, acr=0.43).decimals == 2
    assert table(73, acr=0.43).acr_decimals == 2
    assert published_tables()["cohen2019-cifar10"].decimals == 1
    assert published_tables()["adre2020-table1-cifar10"].decimals == 0


def test_shares_that_would_be_printed_alike_do_not_differ() -> None:
    cell = ReproducedCell(0.0, 74.8, 74.76, 70, 78)
    assert (cell.difference, cell.rounded) == (0.0, 74.8)  # rounded down it would be 74.7
    assert ReproducedCell(0.0, 74.8, 74.74, 70, 78).difference == pytest.approx(-0.1)
    assert ReproducedCell(0.0, 75, 74.5, 70, 78, decimals=0).difference == 0
    assert ReproducedCell(0.0, 74, 74.5, 70, 78, decimals=0).difference == 0  # halfway: printed as either
    assert ReproducedCell(0.0, 76, 74.5, 70, 78, decimals=0).rounded == 75
    assert apart(0.5478, 0.548, 3) == 0
    assert apart(0.5474, 0.548, 3) == pytest.approx(-0.001)


def test_reproduce_pairs_cells_and_names_every_setting_that_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path))
    store, (one,) = make_store(
        tmp_path, dataset="cifar10", model="resnet110", counts=False, training={"epochs": 7},
        certification={"n0": 10, "n": 1000, "skip": 20, "radii": [0.0]},
    )  # fmt: skip
    write_counts(one, list(range(0, 10_000, 20)))
    found = reproduce(store, published_tables()["cohen2019-cifar10"], "sweep")
    (row,) = found.rows
    assert (row.method, row.sigma, row.images) == ("Gaussian", 0.5, 500)
    assert [cell.radius for cell in row.cells] == published_tables()["cohen2019-cifar10"].radii
    text = "; ".join(row.settings)
    for told in (
        "n 100000 published, 1000 here",
        "n0 100 published, 10 here",
        "training.epochs 90 published, 7 here",
        "published: its largest radius",
    ):
        assert told in text
    assert "alpha 0.001" not in text
    assert "images 500" not in text
    assert len(found.missing) == 3
    assert "95 % interval" in reproduction_text(found)
    row.cells[0] = replace(row.cells[0], published=60.0, measured=61.17)
    assert re.search(r"60\.0 \| +61\.2 \| +\+1\.2 \|", reproduction_text(found))
    assert run(["reproduce", "cohen2019-cifar10", "sweep", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["cells"][0]["published"] == 65.2
    assert run(["reproduce", "cohen2019-imagenet", "sweep"]) == 2
    assert "the sweep has cifar10" in capsys.readouterr().err
    assert run(["reproduce", "nothing", "sweep"]) == 2
    assert "cohen2019-cifar10" in capsys.readouterr().err


def test_of_a_grid_the_published_hyperparameters_answer(tmp_path: Path) -> None:
    store, _ = make_store(
        tmp_path, dataset="cifar10", model="resnet110", counts=False, sigma=0.25,
        method={"name": "adre-reg", "grid": {"lbd": [0.1, 0.2, 0.7]}},
    )  # fmt: skip
    found = reproduce(store, published_tables()["adre2020-table1-cifar10"], "sweep")
    names = {}
    for row in found.rows:
        names.setdefault(row.method, []).append(row.run)
    assert [len(names[f"ADRE-REG (k = 8, lambda = {value})"]) for value in (0.1, 0.2)] == [1, 1]
    # Nobody trained 0.3: all answer, and each says how it differs.
    assert len(names["ADRE-REG (k = 8, lambda = 0.3)"]) == 3
    assert any(
        "method.lbd 0.3 published, 0.7 here" in setting for row in found.rows for setting in row.settings
    )


def test_a_run_without_images_breaks_nothing(tmp_path: Path) -> None:
    store, (one,) = make_store(tmp_path, dataset="cifar10", model="resnet110", counts=False)
    found = reproduce(store, published_tables()["cohen2019-cifar10"], "sweep")
    assert found.rows[0].cells == []
    assert "0 of 0" in reproduction_text(found)
    with pytest.raises(InputError, match="no finished image in common"):
        compare(store, open_run(store, one.id), open_run(store, one.id))


def test_a_choice_by_held_out_images_with_the_noise_of_test_images_needs_another_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In comparisons, and in every form that a table is exported in."""
    held_out = {
        "n0": 10,
        "n": 1000,
        "certificates": ["cohen"],
        "radii": [0.0],
        "split": "val",
        "max_images": 20,
    }
    with monkeypatch.context() as before:
        before.setattr(tables, "_drawn", tables._about)
        store, runs = make_store(tmp_path / "old", certification=held_out, grid={"seed": [0, 1]})
    first, second = (open_run(store, one.id) for one in runs)
    said = "another certification.seed than 0"
    assert any(said in warning for warning in compare(store, first, second).warnings)
    monkeypatch.setenv("RSCTL_STORE", str(store.root))
    for form in ("md", "latex", "json", "csv"):
        file = tmp_path / f"table.{form}"
        assert run(["export", "sweep", "--format", form, "--output", str(file)]) == 0
        told = capsys.readouterr().err if form == "csv" else file.read_text()
        assert said in " ".join(told.split()), form
    new, runs = make_store(tmp_path / "new", certification=held_out, grid={"seed": [0, 1]})
    found = compare(new, *(open_run(new, one.id) for one in runs))
    assert not any("certification.seed" in warning for warning in found.warnings)
