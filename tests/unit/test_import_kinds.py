"""Layouts, formats and paths of public logs: imported as what they are, or refused with what is missing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from edited import edited
from report_cases import make_row, make_store

from rsctl import results
from rsctl.certificates.bounds import gaussian_radius, one_minus_lower
from rsctl.cli.app import run
from rsctl.errors import RefusedError
from rsctl.report.baselines import Published, PublishedRow
from rsctl.report.compare.pairs import compare
from rsctl.report.compare.reproduce import reproduce
from rsctl.report.figures.draw import plot
from rsctl.report.radius_logs.cells import NotALog
from rsctl.report.radius_logs.export_logs import export_logs
from rsctl.report.radius_logs.import_logs import GivenFacts, Imported, import_logs
from rsctl.report.radius_logs.logs import parse_log
from rsctl.report.radius_logs.manifest import MANIFEST
from rsctl.report.radius_logs.paths import read_path
from rsctl.report.radius_logs.sigma import Unclear, settle
from rsctl.report.tables.formats import render
from rsctl.report.tables.summary import best_sigmas, groups
from rsctl.results.log_radii import cap
from rsctl.results.measurement import Measurement
from rsctl.results.opening import open_run
from rsctl.results.printed import half_units
from rsctl.results.sweep import sweep_results
from rsctl.store.imports import Import, ImportSpec, Radii, imports
from rsctl.store.layout import Store
from rsctl.tui.curves import Curves
from rsctl.tui.planned import read_sweep
from rsctl.tui.views import RunView

HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime"
ROWS = ["0\t3\t3\t0.25\t1\t1", "20\t8\t8\t0.9\t1\t1", "40\t8\t-1\t0.0\t0\t1", "60\t0\t1\t0.5\t0\t1"]
COHEN = GivenFacts(n=100_000, n0=100, alpha=0.001, dataset="cifar10")


def put(folder: Path, name: str, rows: list[str] = ROWS, header: str = HEADER) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([header, *rows]) + "\n" if header else "\n".join(rows) + "\n")
    return file


def radii(*values: str) -> list[str]:
    """A row for each radius as printed, all of them right."""
    return [f"{i}\t1\t1\t{value}\t1\t1" for i, value in enumerate(values)]


def bring(folder: Path, said: GivenFacts = COHEN) -> tuple[Store, list[Imported]]:
    store = Store(folder.parent / "runs")
    return store, import_logs(store, "s", [folder], said)


def rows_of(store: Store, **options: object) -> list[Measurement]:
    return sweep_results(store, "s", radii=[0.0, 0.5], **options).logged  # type: ignore[arg-type]


# ---------------------------------------------------------------- how radii are printed


@pytest.mark.parametrize(
    ("column", "halves"),
    [
        (["0.9529", "1.9057", "0.0123", "0.95"], [5e-5] * 4),  # four decimals, zeros dropped or not
        (["1.9", "0.953", "0.0123"], [5e-3, 5e-4, 5e-5]),  # three significant digits: 1.9 was 1.90
        (["0.95", "0.953"], [5e-4] * 2),
        (["2.86e-1", "9.53e-01", "1.00e-03"], [5e-4, 5e-4, 5e-6]),
        (["1e-05", "0.953"], [5e-6, 5e-4]),  # of five decimals, for all that the column says
        (["0.0", "0"], [0, 0]),
        (["2", "3.81"], [5e-3] * 2),
        (["0.953", "-0.25"], [5e-4] * 2),
    ],
)
def test_half_a_unit_is_that_of_the_format_of_the_column(column: list[str], halves: list[float]) -> None:
    assert half_units(column).tolist() == pytest.approx(halves, rel=1e-9)


def test_no_format_is_taken_for_finer_than_it_is() -> None:
    values = np.random.default_rng(0).uniform(5e-3, 4, 400)
    for write in ("{:.3}", "{:.3g}", "{:.4f}", "{:.2e}", "{:.5}", "{:.2f}", "{}"):
        texts = [write.format(value) for value in values.tolist()]
        off = np.abs(np.array(texts, float) - values)
        assert (off <= half_units(texts) * (1 + 1e-9)).all(), write


@pytest.mark.parametrize("write", ["{:.3}", "{:.4f}", "{:.3f}", "{:.2e}", "{}", "{:.6g}"])
@pytest.mark.parametrize("alpha", [0.001, 0.01])
def test_radii_at_the_cap_count_as_such_in_every_format(tmp_path: Path, write: str, alpha: float) -> None:
    for sigma in (0.12, 0.25, 0.5, 1.0):
        at_cap = [cap(sigma, 100_000, alpha)] * 2
        values = [*at_cap, 3.0 * sigma, 0.777 * sigma, 0.1234]
        put(tmp_path / "logs", f"sigma_{sigma:.2f}", radii(*(write.format(value) for value in values)))
    store, found = bring(tmp_path / "logs", GivenFacts(n=100_000, n0=100, alpha=alpha))
    assert [one.remarks for one in found] == [[]] * 4
    rows = rows_of(store)
    assert [(row.alpha, row.cap_share) for row in rows] == [(alpha, 0.4)] * 4
    assert len(groups(rows)) == 1


def test_radii_rounded_down_reach_the_cap_too(tmp_path: Path) -> None:
    for sigma in (0.12, 0.25, 0.5, 1.0):
        at_cap = math.floor(cap(sigma, 100_000, 0.001) * 1000) / 1000
        put(
            tmp_path / "logs",
            f"sigma_{sigma:.2f}",
            radii(*[f"{at_cap:.3f}"] * 8, f"{0.98 * at_cap:.3f}", "0.123"),
        )
    store, found = bring(tmp_path / "logs")
    assert [one.remarks for one in found] == [[]] * 4
    assert [row.cap_share for row in rows_of(store)] == [0.8] * 4


def test_single_precision_is_no_contradiction(tmp_path: Path) -> None:
    value = float(np.float32(0.5) * np.float32(cap(1.0, 100_000, 0.001) * (1 + 2e-5)))
    put(tmp_path / "logs", "sigma_0.5", radii(repr(value), "0.123456789"))
    store, (one,) = bring(tmp_path / "logs")
    assert one.remarks == []
    assert rows_of(store)[0].cap_share == 0.5


def test_a_cap_that_the_digits_do_not_show_is_not_told(tmp_path: Path) -> None:
    put(tmp_path / "logs", "sigma_0.12", radii("0.5", "0.4", "0.3"))
    store, (one,) = bring(tmp_path / "logs")
    assert one.remarks == []  # 0.45 to 0.55 holds the cap, 0.457
    assert np.isnan(rows_of(store)[0].cap_share)


def test_alpha_is_replaced_where_more_digits_contradict_it(tmp_path: Path) -> None:
    put(tmp_path / "logs", "sigma_0.25", radii(f"{cap(0.25, 100_000, 0.01):.4f}", "0.1234"))
    store, (one,) = bring(tmp_path / "logs")
    assert "alpha = 0.001 is contradicted" in one.remarks[0]
    assert one.alpha == rows_of(store)[0].alpha == 0.01


# ---------------------------------------------------------------- not certified


@pytest.mark.parametrize(
    ("correct", "certified", "told"),
    [
        (["1", "0", "0", "0"], 1, "2 rows with radius 0 and correct 0"),
        (["True", "False", "False", "False"], 1, "2 rows with radius 0 and correct 0"),
        (["1", "1", "0", "0"], 2, ""),  # somebody's tiny radius, printed as 0
    ],
)
def test_radius_0_with_correct_0_is_an_abstention_that_names_a_class(
    correct: list[str], certified: int, told: str
) -> None:
    rows = ["0\t3\t3\t0.25", "1\t8\t8\t0.0", "2\t5\t4\t0.0", "3\t5\t4\t0.7"]
    read = parse_log(
        "\n".join([HEADER, *(f"{row}\t{c}\t1" for row, c in zip(rows, correct, strict=True))]) + "\n"
    )
    assert int((read.radii.predicted == read.radii.label).sum()) == certified
    assert told in "".join(read.quirks)
    assert not any("wrong" in quirk for quirk in read.quirks)
    assert sum("not certified" in quirk for quirk in read.quirks) == bool(told)
    assert read.radii.predicted.tolist()[3] == 4


def test_a_running_total_tells_the_same() -> None:
    rows = ["0\t3\t3\t0.25\t1", "1\t8\t8\t0.0\t1", "2\t5\t5\t0.1\t2", "3\t5\t4\t0.7\t2"]
    read = parse_log("\n".join([HEADER, *(f"{row}\t1" for row in rows)]) + "\n")
    assert read.radii.predicted.tolist() == [3, -1, 5, 4]
    assert [quirk.partition(" ")[0] for quirk in read.quirks] == ["its", "not"]
    assert "running total" in read.quirks[0]


def test_a_radius_below_0_is_not_certified(tmp_path: Path) -> None:
    put(
        tmp_path / "logs",
        "sigma_0.25",
        ["0\t3\t3\t0.41\t1\t1", "20\t8\t8\t-1.0\t1\t1", "40\t1\t-1\t-1\t0\t1"],
    )
    store, (one,) = bring(tmp_path / "logs")
    assert one.remarks == ["not certified: 1 row with a radius below 0"]
    (row,) = rows_of(store)
    assert (row.cells[0].certified, row.abstain_rate) == (1, pytest.approx(2 / 3))


def test_an_impossible_value_is_shown() -> None:
    assert parse_log("\n".join([HEADER, "0\t3\t-1\tnan\t0\t1", *ROWS[1:]]) + "\n").radii.radius[0] == 0
    for bad, told in (
        ("nan", "row 1: its radius can't be nan"),
        ("inf", "inf"),
        ("x", "'x', isn't a number"),
    ):
        with pytest.raises(NotALog, match=told):
            parse_log("\n".join([HEADER, *radii(bad, "0.2")]) + "\n")


# ---------------------------------------------------------------- what paths say


@pytest.mark.parametrize(
    ("path", "largest", "sigma", "trained", "seed", "split", "method"),
    [
        ("cohen/noise_0.50/test/sigma_0.25", 0.9, 0.25, 0.5, None, "test", "cohen"),
        ("noise_0.50/train/sigma_0.50", 1.9, 0.5, 0.5, None, "train", "given"),
        ("cohen/noise_0.25_3870", 0.9, 0.25, None, 3870, "", "cohen"),
        ("salman/num_2/noise_0.50_1149_o", 1.9, 0.5, None, 1149, "", "salman/num_2/o"),
        ("noise_0.25/stab/noise_0.25.tsv", 0.9, 0.25, 0.25, None, "", "stab"),
        ("cohen/seed_3/sigma_1.00-val.tsv", 3.8, 1.0, None, 3, "val", "cohen"),
        ("consistency/lbd_10.0/eta_0.5/cifar_resnet110/noise_0.50", 1.9, 0.5, None, None, "", "consistency/lbd_10.0/eta_0.5"),
        ("N0.25.tsv", 0.95, 0.25, None, None, "", "given"),
        ("noise025.tsv", 0.95, 0.25, None, None, "", "given"),
        ("x/noise_std_0.5/sigma 0.25.tsv", 0.95, 0.25, 0.5, None, "", "x"),
        ("macer/0.25.csv", 0.95, 0.25, None, None, "", "macer"),
        ("x/sigma_1", 3.8, 1.0, None, None, "", "x"),
        ("x/noise_0.25/sigma_25", 0.95, 0.25, 0.25, None, "", "x"),
        ("cifar10-resnet110-noise_0.25-sigma_0.50.tsv", 1.9, 0.5, 0.25, None, "", "given"),
    ],
)  # fmt: skip
def test_levels_seed_and_split_are_read(
    path: str, largest: float, sigma: float, trained: float | None, seed: int | None, split: str, method: str
) -> None:
    told = read_path(Path("given", path), Path(path), Path("/logs/given"))
    noise = settle(told.levels, largest, None)
    assert (noise.sigma, noise.trained, told.seed, told.split, told.method) == (
        sigma,
        trained,
        seed,
        split,
        method,
    )
    assert noise.remarks == []


@pytest.mark.parametrize(
    ("path", "largest", "why"),
    [
        (
            "sigma_25",
            0.953,
            r"'sigma_25' means 25, but its largest radius is 0.953 = 0.038 σ \(0.25 would fit\)",
        ),
        ("noise100", 3.81, "'noise100' means 100"),
        ("sigma_1 - Copy.50", 0.953, "'sigma_1 - Copy.50' goes on behind its number"),
        ("sigma_1", 0.3, "'sigma_1' means 1"),
        ("noise025", 0.02, "'noise025' means 0.25"),
        ("sigma_25", 0.0, "it has no radius to judge by"),
        ("sigma_0.0", 0.0, "must be above 0"),
        ("eta_0.5/result.tsv", 0.9, "its path has no σ"),
        ("0.25/0.50.tsv", 0.9, "several fit"),
        ("result.tsv", 0.9, "its path has no σ"),
    ],
)
def test_no_sigma_is_guessed_against_the_evidence(path: str, largest: float, why: str) -> None:
    told = read_path(Path(path), Path(path), Path("/logs/given"))
    with pytest.raises(Unclear, match=f"{why}.*--sigma"):
        settle(told.levels, largest, None)
    assert settle(told.levels, largest, 0.5).sigma == 0.5


def test_radii_that_no_draws_show_at_this_sigma_ask_for_it(tmp_path: Path) -> None:
    for said, value, told in (
        (GivenFacts(), "1.35", "5.4 sigma, which no number of draws can show: is sigma = 0.25 right?"),
        (COHEN, "1.15", "4.6 sigma, which 100000 draws can't show at any alpha below 0.79"),
    ):
        put(tmp_path / "logs", "sigma_0.25", radii(value, "0.1"))
        _, (one,) = bring(tmp_path / "logs", said)
        assert (one.state, one.run) == ("skipped", "")
        assert told in one.remarks[0]


def test_an_n_that_no_alpha_saves_is_told_and_no_alpha_invented(tmp_path: Path) -> None:
    put(tmp_path / "logs", "sigma_0.25", radii("0.9", "0.1"))
    store, (one,) = bring(tmp_path / "logs", GivenFacts(n=1000, n0=100, alpha=0.001))
    assert "n = 1000 and alpha = 0.001 are contradicted" in one.remarks[0]
    (row,) = rows_of(store)
    assert (row.n, row.alpha) == (1000, None)
    assert np.isnan(row.cap_share)


def test_a_cap_of_another_sigma_asks_and_one_of_another_n_is_told(tmp_path: Path) -> None:
    put(tmp_path / "logs", "sigma_1.00", radii(*["0.953"] * 8, "0.2", "0.4"))
    store, (one,) = bring(tmp_path / "logs")
    assert one.state == "skipped"
    assert "8 images share the largest radius" in one.remarks[0]
    assert "of sigma = 0.25: is sigma = 1 right? Give it with --sigma" in one.remarks[0]
    import_logs(store, "s", [tmp_path / "logs"], GivenFacts(**{**COHEN.__dict__, "sigma": 0.25}))
    assert rows_of(store)[0].cap_share == 0.8
    fewer = f"{cap(1.0, 10_000, 0.001):.3}"
    put(tmp_path / "other", "sigma_1.00", radii(*[fewer] * 8, "0.2", "0.4"))
    _, (one,) = bring(tmp_path / "other")
    assert "of n = 1e+04, not 100000" in one.remarks[0]


def test_lines_that_differ_in_the_training_noise_never_look_alike(tmp_path: Path) -> None:
    for number, trained in enumerate(("0.12", "0.50", "1.00")):
        put(
            tmp_path / "logs" / "cohen",
            f"noise_{trained}/test/sigma_0.50",
            [*ROWS, f"80\t1\t1\t0.{number + 1}\t1\t1"],
        )
    store, _ = bring(tmp_path / "logs")
    found = sweep_results(store, "s", radii=[0.0])
    (group,) = groups(found.every)
    assert [line.label for line in group.lines] == [
        "cohen (trained at σ = 0.12, log)", "cohen (log)", "cohen (trained at σ = 1, log)",
    ]  # fmt: skip
    rows = json.loads(render(found, "json"))["rows"]
    assert [row["trained_sigma"] for row in rows] == [0.12, 0.5, 1.0]
    for form in ("md", "csv", "latex"):
        assert "trained at" in render(found, form)


def test_reproduce_and_the_best_sigma_compare_like_with_like(tmp_path: Path) -> None:
    for trained, sigma in (("0.25", "0.25"), ("0.50", "0.50"), ("0.50", "0.25")):
        put(tmp_path / "logs" / "cohen", f"noise_{trained}/test/sigma_{sigma}")
    store, _ = bring(tmp_path / "logs")
    values = {
        "certificate": "cohen", "radii": [0.0], "dataset": "cifar10", "split": "test", "model": "unknown", "n": 1, "n0": 1,
        "alpha": 0.1, "images": 4, "skip": 20, "title": "", "citation": "", "source": "",
    }  # fmt: skip
    table = Published(
        "t",
        values,
        [
            PublishedRow("cohen", 0.25, [50.0], 0.3, 4, "a table", False),
            PublishedRow("cohen", 0.5, [50], 0.3, 4, "a table", False),
        ],
    )
    found = reproduce(store, table, "s")
    assert [row.sigma for row in found.rows] == [0.25, 0.5]
    assert not any("trained at" in setting for row in found.rows for setting in row.settings)
    (group,) = groups(rows_of(store))
    (best, _) = sorted(best_sigmas(group), key=lambda one: one.label)
    assert best.label == "cohen (log)"


def test_seeds_of_one_method_are_one_line(tmp_path: Path) -> None:
    for seed, more in ((3870, "0.3"), (77, "0.7"), (919, "0.6")):
        put(tmp_path / "logs", f"cohen/noise_0.25_{seed}", [*ROWS, f"80\t1\t1\t{more}\t1\t1"])
    store, _ = bring(tmp_path / "logs")
    (group,) = groups(rows_of(store))
    (line,) = group.lines
    assert (line.label, line.seeds) == ("cohen (log)", "3 seeds")
    assert line.accuracy(1).mean == pytest.approx((0.2 + 0.4 + 0.4) / 3)
    assert line.accuracy(1).deviation == pytest.approx(np.std([0.2, 0.4, 0.4], ddof=1))
    (apart,) = groups(rows_of(store), merge_seeds=False)
    assert [one.first.seed for one in apart.lines] == [77, 919, 3870]
    own = [make_row(seed=seed, run=f"r{seed}") for seed in (10, 9, 0)]
    (apart,) = groups(own, merge_seeds=False)
    assert [one.first.seed for one in apart.lines] == [0, 9, 10]


def test_three_seeds_of_logs_speak_of_the_methods(tmp_path: Path) -> None:
    for method, first in (("cohen", 1), ("macer", 5)):
        for seed in range(3):
            put(
                tmp_path / "logs", f"{method}/noise_0.25_{seed}", [*ROWS, f"80\t1\t1\t0.{first + seed}\t1\t1"]
            )
    put(tmp_path / "logs", "cohen/noise_0.50/sigma_0.25")
    store, found = bring(tmp_path / "logs")
    one, other = (next(log.run for log in found if log.method == name) for name in ("cohen", "macer"))
    compared = compare(store, open_run(store, one), open_run(store, other))
    assert compared.seeds == (3, 3)
    assert compared.methods[0].first == pytest.approx((0.25 + 0.9 + 0.2) / 5)
    elsewhere = next(log.run for log in found if log.trained_sigma == 0.5)
    compared = compare(store, open_run(store, one), open_run(store, elsewhere))
    assert "trained_sigma differs: 0.25 and 0.5." in compared.warnings
    assert compared.seeds == (3, 1)


def test_one_seed_twice_is_not_two_trainings(tmp_path: Path) -> None:
    put(tmp_path / "logs", "cohen/noise_0.25_77.tsv")
    put(tmp_path / "logs", "cohen/noise_0.25_77.txt", [*ROWS, "80\t1\t1\t0.3\t1\t1"])
    store, _ = bring(tmp_path / "logs")
    lines = [line for group in groups(rows_of(store)) for line in group.lines]
    assert [line.seeds for line in lines] == ["77", "77"]
    assert [line.label for line in lines] != [lines[0].label] * 2


def test_what_nothing_else_tells_apart_is_called_by_its_file(tmp_path: Path) -> None:
    put(tmp_path / "logs" / "names", "N0.25.tsv")
    put(tmp_path / "logs" / "names", "noise025.tsv", [*ROWS[:3], "60\t0\t0\t0.5\t1\t1"])
    store, _ = bring(tmp_path / "logs")
    assert {row.label for row in rows_of(store)} == {"names (N0.25.tsv, log)", "names (noise025.tsv, log)"}


def test_folders_given_together_keep_their_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / name, "noise_0.25/sigma_0.25", [*ROWS, f"80\t{len(name)}\t1\t0.3\t1\t1"])
        put(tmp_path / name / "cohen", "sigma_0.50", [*ROWS, f"80\t1\t1\t0.{ord(name)}\t1\t1"])
    store = Store(tmp_path / "runs")
    import_logs(store, "s", [tmp_path / "a", tmp_path / "b", tmp_path / "a" / "cohen"], COHEN)
    assert sorted(one.spec.method for one in imports(store)) == ["a", "a/cohen", "b", "b/cohen"]


# ---------------------------------------------------------------- one file among many


def test_a_file_that_cannot_be_used_is_named_and_the_others_come_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "runs"))
    logs = tmp_path / "logs"
    for name in ("a/sigma_0.25", "b/result.tsv", "c/sigma_0.50", "d/sigma_25"):
        put(logs, name)
    (logs / "e").mkdir()
    (logs / "e" / "sigma_0.5").symlink_to(tmp_path / "nowhere")
    (logs / "README.md").write_text("# Logs\n")
    given = ["import", str(logs), "--name", "s", "--n", "100000", "--n0", "100", "--alpha", "0.001"]
    assert run([*given, "--json"]) == 0
    out, err = capsys.readouterr()
    states = {Path(one["file"]).relative_to(logs).as_posix(): one["state"] for one in json.loads(out)}
    assert states == {
        "a/sigma_0.25": "new", "b/result.tsv": "skipped", "c/sigma_0.50": "new", "d/sigma_25": "skipped",
        "e/sigma_0.5": "skipped", "README.md": "skipped",
    }  # fmt: skip
    assert "note: 2 logs skipped for missing information" in err
    assert run(given) == 0
    out = capsys.readouterr().out
    for told in (
        "b/result.tsv: its path has no σ",
        "can't be read (No such file",
        "2 unchanged, 4 skipped",
    ):
        assert told in out
    # Nothing imported at all: wrong input, and still one document.
    assert run(["import", str(logs / "b"), str(logs / "d"), "--name", "t", "--json"]) == 2
    out, err = capsys.readouterr()
    assert [one["state"] for one in json.loads(out)] == ["skipped", "skipped"]
    assert "nothing was imported" in err
    assert not (tmp_path / "runs" / "sweeps" / "t").exists()
    assert run(["import", str(logs / "none"), "--name", "t", "--json"]) == 2
    assert json.loads(capsys.readouterr().out) == []
    # A path that isn't there is seen before anything is kept.
    assert run(["import", str(logs / "a"), str(logs / "none"), "--name", "u"]) == 2
    assert not (tmp_path / "runs" / "sweeps" / "u").exists()


def test_importing_again_corrects_what_a_file_was_called(tmp_path: Path) -> None:
    put(tmp_path / "logs", "x/sigma_0.25")
    store, _ = bring(tmp_path / "logs")
    _, (one,) = bring(tmp_path / "logs", GivenFacts(method="cohen", n=100_000, alpha=0.001))
    assert one.state == "changed"
    assert [row.method for row in rows_of(store)] == ["cohen"]
    put(tmp_path / "logs", "x/sigma_0.25", ROWS[:2])  # the file was written anew
    _, (one,) = bring(tmp_path / "logs", GivenFacts(method="cohen", n=100_000, alpha=0.001))
    assert (one.state, len(rows_of(store))) == ("changed", 1)
    # The same name in another folder is another file.
    put(tmp_path / "elsewhere" / "logs", "x/sigma_0.25", ROWS[1:])
    import_logs(store, "s", [tmp_path / "elsewhere" / "logs"], COHEN)
    assert len(rows_of(store)) == 2


def test_what_was_imported_before_keeps_its_name_and_its_numbers(tmp_path: Path) -> None:
    spec = ImportSpec(
        method="m", dataset="cifar10", split="test", model="resnet110", sigma=0.25, seed=None, certificate="cohen", rows="0" * 64,
    )  # fmt: skip
    assert spec.run_id == "m-cifar10-s0.25-9386b84b"
    old = Radii(
        np.arange(2),
        np.array([3, 8], np.int32),
        np.array([3, -1], np.int32),
        np.array([0.25, 0]),
        np.zeros(2),
    )
    assert old.sha256 == "25dac097027578f2c9e02088bbcff0a3a0cc1580e16a71157a4065366ca2ecfd"
    put(tmp_path / "logs", "sigma_0.25", radii("0.953", "0.95", "0.1"))
    store, (one,) = bring(tmp_path / "logs")
    file = store.root / "imports" / one.run / "radii.h5"
    file.chmod(0o644)
    with edited(file) as stored:
        del stored["printed"]
    assert rows_of(store)[0].cap_share == pytest.approx(1 / 3)
    with edited(file) as stored:
        stored["printed"] = np.zeros(2)
    assert rows_of(store) == []
    with pytest.raises(RefusedError, match="different lengths"):
        _ = Import(file.parent).radii


# ---------------------------------------------------------------- layouts


def test_spaces_before_tabs_and_other_names_of_columns() -> None:
    for header in (
        "idx \tlabel \tpredict \tradius \tcorrect \ttime",
        "Index\tTrue label\tPrediction\tCertified radius\tcorrect\ttime",
    ):
        read = parse_log("\n".join([header, *ROWS]) + "\n")
        assert read.radii.radius.tolist() == [0.25, 0.9, 0.0, 0.5]
        assert read.quirks == []
    unnamed = parse_log(",label,predict,radius\n4,1,1,0.3\n")  # as pandas writes it
    assert (unnamed.radii.index.tolist(), unnamed.quirks) == ([4], [])
    for between in (",", "   "):
        read = parse_log("\n".join(row.replace("\t", between) for row in [HEADER, *ROWS]) + "\n")
        assert read.radii.radius.tolist() == [0.25, 0.9, 0.0, 0.5]


def test_a_second_norm_is_a_second_import(tmp_path: Path) -> None:
    header = "idx \tlabel \tpredict \tradius \tlinf_radius \tcorrect \ttime"
    put(
        tmp_path / "logs",
        "sigma_0.50",
        ["0\t3\t3\t0.71\t0.012829\t1\t1", "20\t5\t-1\t0.0\t0.0\t0\t1"],
        header,
    )
    store, found = bring(tmp_path / "logs")
    assert [one.certificate for one in found] == ["cohen", "cohen-linf"]
    assert {(row.norm, row.acr) for row in rows_of(store)} == {("l2", 0.355), ("linf", 0.012829 / 2)}
    assert len(groups(rows_of(store))) == 2
    for kind in ("curve", "ecdf"):
        plot(store, "s", tmp_path / f"{kind}.svg", kind=kind)
    put(
        tmp_path / "alone", "sigma_0.50", ["0\t3\t3\t0.012829\t1\t1"], HEADER.replace("radius", "linf_radius")
    )
    _, (one,) = bring(tmp_path / "alone")
    assert one.certificate == "cohen-linf"


COUNTS = ["0\t3\t3\t98231\t100000\t1", "20\t5\t2\t61200\t100000\t0", "40\t7\t7\t100000\t100000\t1", "60\t7\t7\t50010\t100000\t0"]  # fmt: skip


def test_counts_are_imported_as_counts(tmp_path: Path) -> None:
    put(tmp_path / "logs", "noise_0.50/sigma_0.50", COUNTS, "idx\tlabel\tpredict\tcount\tn\tcorrect")
    store, (one,) = bring(tmp_path / "logs")
    assert one.counts
    hits = np.array([98231, 61200, 100_000])
    for alpha in (0.001, 0.01):
        wanted = gaussian_radius(one_minus_lower(hits, 100_000, alpha), 0.5)
        subject = open_run(store, one.run, alpha=alpha)
        assert subject.certified.radius[:3] == pytest.approx(wanted)
        assert subject.certified.predicted.tolist() == [3, 2, 7, -1]  # 50010 of 100000 show nothing
        (row,) = rows_of(store, alpha=alpha)
        assert (row.alpha, row.cap_share, row.failure) == (alpha, 0.25, alpha)
        assert row.acr == pytest.approx((wanted[0] + wanted[2]) / 4)
        assert "counts unknown" not in row.guarantee
    (linf,) = rows_of(store, certificate="cohen-linf")
    assert linf.acr == pytest.approx(rows_of(store)[0].acr / 3072**0.5)
    assert rows_of(store, certificate="runner-up")
    found = sweep_results(store, "s", certificate="top-3")
    assert not found.logged
    assert any("needs the counts of every class" in note for note in found.notes)
    opened = results.open(store.root / "imports" / one.run)
    assert opened.counts[:, 0].tolist() == [98231, 61200, 100_000, 50010]
    assert opened.certify("cohen", 0.01).radius[0] > opened.radius[0]
    assert compare(store, open_run(store, one.run), open_run(store, one.run)).images == 4
    for kind in ("curve", "envelope", "ecdf", "classes"):
        plot(store, "s", tmp_path / f"{kind}.svg", kind=kind)


def test_counts_without_n_ask_for_it_and_impossible_ones_are_refused(tmp_path: Path) -> None:
    header = "idx\tlabel\tpredict\tcount\tcorrect"
    put(tmp_path / "logs", "sigma_0.50", ["0\t3\t3\t98231\t1", "20\t5\t2\t61200\t0"], header)
    store, (one,) = bring(tmp_path / "logs", GivenFacts())
    assert "Give it with --n" in one.remarks[0]
    _, (one,) = bring(tmp_path / "logs", GivenFacts(n=50_000))
    assert "above the number of draws" in one.remarks[0]
    _, (one,) = bring(tmp_path / "logs", COHEN)
    assert (one.state, one.n) == ("new", 100_000)
    assert rows_of(store)[0].cells[0].certified == 1


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("idx\tlabel\tpredict\tcounts", "{i}\t{label}\t{predict}\t[{a}, {b}, {c}]"),
        ("idx\tlabel\tpredict\thistogram", '{i}\t{label}\t{predict}\t"{a} {b}  {c}"'),
        ("idx,label,predict,counts", '{i},{label},{predict},"[{a}, {b}, {c}]"'),
        ("idx\tlabel\tpredict\tc0\tc1\tc2", "{i}\t{label}\t{predict}\t{a}\t{b}\t{c}"),
        ("idx\tlabel\tpredict\tcount_0\tcount_1\tcount_2\tn", "{i}\t{label}\t{predict}\t{a}\t{b}\t{c}\t1000"),
    ],
)
def test_counts_of_every_class_give_every_certificate(tmp_path: Path, header: str, row: str) -> None:
    table = [(0, 0, 0, 990, 8, 2), (1, 1, 0, 700, 290, 10), (2, 2, 2, 0, 0, 1000)]
    names = ("i", "label", "predict", "a", "b", "c")
    put(
        tmp_path / "logs",
        "sigma_0.50",
        [row.format(**dict(zip(names, one, strict=True))) for one in table],
        header,
    )
    store, (one,) = bring(tmp_path / "logs", GivenFacts(n0=100, alpha=0.001))
    assert (one.state, one.n, one.counts) == ("new", 1000, True)
    subject = open_run(store, one.run)
    wanted = gaussian_radius(one_minus_lower(np.array([990, 700, 1000]), 1000, 0.001), 0.5)
    assert subject.certified.radius == pytest.approx(wanted)
    (top,) = rows_of(store, certificate="top-2")
    assert (top.k, top.cells[0].certified) == (2, 3)  # image 1: its label is the second
    assert rows_of(store)[0].clean_accuracy == pytest.approx(2 / 3)
    # Nobody says that other draws chose the class: a union over the classes.
    _, (one,) = bring(tmp_path / "logs", GivenFacts(alpha=0.001))
    assert any("by the number of classes" in remark for remark in one.remarks)
    wanted = gaussian_radius(one_minus_lower(np.array([990, 700, 1000]), 1000, 0.001 / 3), 0.5)
    assert open_run(store, one.run).certified.radius == pytest.approx(wanted)


def test_lines_of_counts_and_a_label_are_known_by_their_sums(tmp_path: Path) -> None:
    put(tmp_path / "logs", "sigma_0.25.txt", ["10 990 0 1", "200 300 500 2", "1000 0 0 1"], "")
    store, (one,) = bring(tmp_path / "logs", COHEN)
    assert (one.state, one.rows, one.n0) == ("new", 3, None)
    assert open_run(store, one.run).index.tolist() == [0, 1, 2]
    assert rows_of(store)[0].cells[0].certified == 1


def test_counts_that_contradict_the_radii_beside_them_are_left_out(tmp_path: Path) -> None:
    header = "idx\tlabel\tpredict\tradius\tcount\tn"
    good = f"{float(gaussian_radius(one_minus_lower(98231, 100_000, 0.001), 0.5)):.3}"
    put(tmp_path / "a", "sigma_0.50", [f"0\t3\t3\t{good}\t98231\t100000"], header)
    put(tmp_path / "b", "sigma_0.50", ["0\t3\t3\t0.4\t98231\t100000"], header)
    (_, (one,)), (_, (other,)) = bring(tmp_path / "a"), bring(tmp_path / "b")
    assert one.counts
    assert not other.counts
    assert "its counts don't give its radii, and are left out" in other.remarks


@pytest.mark.parametrize(
    ("rows", "header", "why"),
    [
        (["0 0.41983515341928107", "10 0.7675770512543351"], "", "which images are classified rightly isn't in it"),
        (["0 0.87 0.0 0.0", "10 0.87 0.0 0.0"], "", "which images are classified rightly isn't in it"),
        (["0.00000\t0.99450", "0.25000\t0.99"], "", "numbers without a first line"),
        (["1\t0.55", "2\t0.365"], "idx\tradius", "no column label, predict"),
        (["0\t3\t3\t1\t0.2"], "idx\tlabel\tpredict\tcorrect\ttime", "no column radius"),
        (["0\t3\t3\t97036\t0.1\t0.2"], "idx\tlabel\tpredict\tcount\tany_iid_distribution_bound\tgeneralized_gaussian_bound", "noise other than Gaussian"),
        (["0\t3\t[3, 4]\t0.2", "1\t3\t[3]\t0.2", "2\t3\t[1, 2, 3]\t0.2"], "idx\tlabel\tpredict\tradius", "different lengths"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(tmp_path: Path, rows: list[str], header: str, why: str) -> None:
    put(tmp_path / "logs", "sigma_0.25", rows, header)
    _, (one,) = bring(tmp_path / "logs")
    assert one.state == "skipped"
    assert why in one.remarks[0]


@pytest.mark.parametrize("header", ["idx\tlabel\tpredict\tradius", "idx\tlabel\ttop3\tradius"])
def test_a_log_of_the_k_largest_is_one_of_top_k(tmp_path: Path, header: str) -> None:
    rows = ["0\t3\t[5, 3, 1]\t0.4", "1\t2\t[5, 3, 1]\t0.4", "2\t2\t-1\t0.0"]
    put(tmp_path / "logs", "sigma_0.25", rows, header)
    store, (one,) = bring(tmp_path / "logs")
    assert one.certificate == "top-3"
    (row,) = rows_of(store)
    assert (row.k, row.cells[0].certified, row.abstain_rate) == (3, 1, pytest.approx(1 / 3))


def test_no_layout_brings_a_traceback(tmp_path: Path) -> None:
    texts = [
        "\n".join([HEADER, *ROWS]),
        "\n".join(["idx\tlabel\tpredict\tcount\tn\tcorrect", *COUNTS]),
        "idx\tlabel\tpredict\tcounts\n0\t0\t0\t[990, 8, 2]\n1\t1\t0\t[700, 290, 10]",
        "idx\tlabel\tc0\tc1\tc2\n0\t0\t990\t8\t2\n1\t1\t700\t290\t10",
        "idx\tlabel\tpredict\tradius\n0\t3\t[5, 3, 1]\t0.4\n1\t2\t-1\t0.0",
        "10 990 0 1\n200 300 500 2\n1000 0 0 1",
        'idx,label,predict,radius,linf_radius\n0,1,1,0.3,0.01\n1,1,1,"0.2",0.01',
    ]
    rng = np.random.default_rng(0)
    odd = [
        "\t",
        "\n",
        "",
        "9",
        "-",
        "e",
        ".",
        "\x00",
        "é",
        "\r",
        "1e300",
        "1e999",
        "[",
        "]",
        ",",
        " ",
        "nan",
        '"',
        "1" * 30,
    ]
    for number in range(80):
        text = list(texts[number % len(texts)] + "\n")
        for place in rng.integers(0, len(text), rng.integers(0, 4)):
            text[place] = str(rng.choice(odd))
        put(tmp_path / "logs", f"{number}/sigma_0.5.tsv", ["".join(text)], "")
    store, found = bring(tmp_path / "logs")
    assert {one.state for one in found} == {"new", "skipped"}
    assert all(one.remarks for one in found if one.state == "skipped")
    for options in ({}, {"alpha": 0.01}, {"certificate": "runner-up"}, {"certificate": "top-2"}):
        for row in rows_of(store, **options):
            assert np.isfinite(row.acr)


# ---------------------------------------------------------------- in the dashboard


def test_the_dashboard_tells_logs_apart_and_derives_from_counts(tmp_path: Path) -> None:
    header = "idx\tlabel\tpredict\tcount\tn\tcorrect"
    for seed in (3, 77):
        put(tmp_path / "logs" / "cohen", f"noise_1.00_{seed}/test/sigma_0.50", [*COUNTS[seed % 2 :]], header)
    put(tmp_path / "logs" / "cohen", "noise_0.50/test/sigma_0.50")
    store, _ = bring(tmp_path / "logs")
    entries = {entry.title: entry for entry in read_sweep(store, "s", None).entries}
    assert set(entries) == {
        "cohen σ 0.5 (log)", "cohen σ 0.5 (logged counts) · trained at σ 1 · seed 3", "cohen σ 0.5 (logged counts) · trained at σ 1 · seed 77",
    }  # fmt: skip
    views = {
        title: RunView(title, "s", title, title, "", entry.counts, entry.settings, entry.values, ())
        for title, entry in entries.items()
    }
    log, counted, _ = (views[title] for title in sorted(views))
    curves = Curves()
    own, other = (curves.of(str(store.root), counted, None, alpha) for alpha in (None, 0.01))
    assert (own.alpha, other.alpha) == (0.001, 0.01)
    assert own.acr < other.acr
    assert own.cap_share > 0
    assert curves.of(str(store.root), counted, "cohen-linf", None).norm == "linf"
    assert "needs the counts of every class" in curves.of(str(store.root), counted, "top-3", None).problems[0]
    assert "no counts to compute others from" in curves.of(str(store.root), log, None, 0.01).problems[0]
    assert {sample.first for sample in curves.samples(str(store.root), counted, "cohen", 0.01)} >= {
        61200,
        100_000,
    }
    assert {sample.first for sample in curves.samples(str(store.root), log, "cohen", 0.001)} == {0}
    # A damaged import is told, and the others stay.
    spoilt = store.root / "imports" / log.counts / "spec.json"
    spoilt.chmod(0o644)
    spoilt.write_text("{}")
    sweep = read_sweep(store, "s", None)
    assert (len(sweep.entries), len(sweep.problems)) == (2, 1)


# ---------------------------------------------------------------- our own, and figures


@pytest.mark.parametrize("manifest", [True, False])
def test_our_own_logs_come_back_as_one_sweep(tmp_path: Path, manifest: bool) -> None:
    store, _ = make_store(tmp_path / "runs", grid={"sigma": [0.25, 0.5], "seed": [0, 1]})
    files, ours = export_logs(store, "sweep", tmp_path / "logs")
    said = GivenFacts()
    if not manifest:  # logs that were moved, or exported before there was one
        (tmp_path / "logs" / MANIFEST).unlink()
        said = GivenFacts(n=1000, n0=10, alpha=0.001)
    other = Store(tmp_path / "other")
    found = import_logs(other, "back", [tmp_path / "logs"], said)
    assert len(found) == len(files) == 4
    theirs = sweep_results(other, "back", radii=[0.0, 0.25, 0.5])
    (group,) = groups(theirs.every)
    assert {(row.method, row.dataset, row.n, row.n0, row.alpha) for row in theirs.logged} == {
        ("gaussian", "digits", 1000, 10, 0.001)
    }
    assert sorted((row.sigma, row.acr, row.cap_share) for row in theirs.logged) == sorted(
        (row.sigma, row.acr, row.cap_share) for row in ours.rows
    )
    if manifest:
        assert [(line.label, line.first.sigma, line.seeds) for line in group.lines] == [
            ("gaussian (log)", 0.25, "2 seeds"), ("gaussian (log)", 0.5, "2 seeds"),
        ]  # fmt: skip
        assert {row.model for row in theirs.logged} == {"cnn"}
    export_logs(store, "sweep", tmp_path / "logs")  # over its own


def test_settings_stay_apart_on_the_way_back(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path / "runs", method={"name": "adre-reg", "grid": {"lbd": [0.1, 0.2]}})
    export_logs(store, "sweep", tmp_path / "logs")
    other = Store(tmp_path / "other")
    import_logs(other, "back", [tmp_path / "logs"], GivenFacts())
    labels = {row.label for row in sweep_results(other, "back").logged}
    assert labels == {"adre-reg (lbd=0.1, log)", "adre-reg (lbd=0.2, log)"}


def test_families_of_logs_alone_are_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "logs", "sigma_0.25")
    store, _ = bring(tmp_path / "logs")
    monkeypatch.setenv("RSCTL_STORE", str(store.root))
    assert run(["plot", "s", "--kind", "families", "-o", str(tmp_path / "a.pdf")]) == 2
    assert "imported logs alone" in capsys.readouterr().err
    assert not (tmp_path / "a.pdf").exists()
