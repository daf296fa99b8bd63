"""Public logs: every oddity that real ones have, and the same numbers out as an independent computation."""

from __future__ import annotations

import csv
import io
import json
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from report_cases import make_store

from rsctl.cli.app import run
from rsctl.errors import InputError
from rsctl.report.radius_logs.cells import NotALog
from rsctl.report.radius_logs.export_logs import export_logs
from rsctl.report.radius_logs.import_logs import GivenFacts, import_logs
from rsctl.report.radius_logs.logs import parse_log
from rsctl.report.tables.formats import render
from rsctl.results.log_radii import cap, implied_alpha, p_a_estimate, p_a_lower, shortest_between
from rsctl.results.sweep import sweep_results
from rsctl.store.files import read_json
from rsctl.store.imports import imports
from rsctl.store.layout import Store

HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime"
ROWS = [
    "0\t3\t3\t0.25\t1\t0:00:14.5",
    "1\t8\t8\t0.95\t1\t0:01:00",
    "2\t8\t-1\t0.0\t0\t1 day, 0:00:01",
    "3\t0\t1\t0.5\t0\t12.5",
]
REFERENCE = Path(__file__).parents[3] / "shared" / "reference"


def log(rows: list[str] = ROWS, header: str = HEADER, end: str = "\n") -> str:
    return "\n".join([header, *rows]) + end


def put(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


# ---------------------------------------------------------------- reading


def test_times_are_read_as_clock_days_and_seconds() -> None:
    read = parse_log(log())
    assert read.radii.seconds.tolist() == [14.5, 60.0, 86401.0, 12.5]
    assert read.quirks == []
    assert read.losses == []
    assert parse_log(log([*ROWS, "4\t1\t1\t0.3\t1\t?"])).quirks == ["1 time can't be read"]


def test_a_running_total_is_recognised_and_recomputed() -> None:
    rows = [f"{i}\t{i % 3}\t0\t0.5\t{1 + i // 3}\t1" for i in range(9)]
    read = parse_log(log(rows))
    assert any("running total" in quirk for quirk in read.quirks)
    assert (read.radii.predicted == read.radii.label).sum() == 3
    wrong = parse_log(log([ROWS[0].replace("\t1\t", "\t0\t")]))
    assert any("wrong in 1 row;" in quirk for quirk in wrong.quirks)


@pytest.mark.parametrize("tail", ["4\t1\t1", "4\t1\t1\t0.", "4\t1\t", "4", "4\t1\t1\t0.3\t1"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_last_line_that_was_cut_off_is_left_out(tail: str, end: str) -> None:
    read = parse_log(log([*ROWS, tail], end=end))
    assert len(read.radii) == 4
    assert read.losses == ["the last line was cut off and is left out"]


def test_a_value_that_is_no_number_is_shown_with_its_row() -> None:
    with pytest.raises(NotALog, match="row 2: its radius, 'abc', isn't a number"):
        parse_log(log([ROWS[0], "9\t1\t1\tabc\t1\t1", *ROWS[1:]]))
    assert parse_log(log([*ROWS, "9\t1\t1\tabc\t1\t1"])).losses == [
        "the last line holds no numbers and is left out"
    ]


def test_a_last_line_without_its_newline_is_kept_only_if_the_time_is_what_may_be_cut() -> None:
    assert len(parse_log(log(end="")).radii) == 4
    header = "idx\tlabel\tpredict\tcorrect\ttime\tradius"
    rows = ["0\t3\t3\t1\t1\t0.25", "1\t3\t3\t1\t1\t0.2"]  # the second may have been 0.25
    assert len(parse_log(log(rows, header, end="")).radii) == 1


def test_a_damaged_line_in_the_middle_refuses_the_file() -> None:
    with pytest.raises(NotALog, match="row 2 has 3 columns"):
        parse_log(log([ROWS[0], "1\t8\t8", ROWS[2]]))
    for bad in (
        "1\t8\t8\tnan\t1\t1",
        "1\t8\t8\tinf\t1\t1",
        "-1\t8\t8\t0.5\t1\t1",
        "1\t8\t-2\t0.5\t1\t1",
        "1\t8.5\t8\t0.5\t1\t1",
        "x\t8\t8\t0.5\t1\t1",
    ):
        with pytest.raises(NotALog):
            parse_log(log([ROWS[0], bad, ROWS[2]]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\x00\x01",
        "a\tb\n1\t2\n",
        HEADER,
        HEADER + "\n",
        "idx\tlabel\tpredict\tcorrect\ttime\n0\t1\t1\t1\t1\n",
    ],
)
def test_what_is_no_log_says_why(text: str) -> None:
    with pytest.raises(NotALog, match=r"no column|no rows"):
        parse_log(text)


def test_order_repeats_extra_columns_and_windows_line_ends() -> None:
    rows = [ROWS[3], ROWS[0], ROWS[0], ROWS[1]]
    text = log([row + "\t7" for row in rows], HEADER + "\tpABar").replace("\n", "\r\n")
    read = parse_log(text)
    assert read.radii.index.tolist() == [0, 1, 3]
    assert any("pABar" in quirk for quirk in read.quirks)
    assert any("order" in quirk for quirk in read.quirks)
    assert read.losses == ["left out: 1 repeated row of an image"]
    with pytest.raises(NotALog, match="image 0 is in it twice, with another radius"):
        parse_log(log([ROWS[0], ROWS[0].replace("0.25", "0.35")]))


def test_an_abstention_has_no_radius_whatever_the_log_says() -> None:
    assert parse_log(log(["0\t3\t-1\t0.7\t0\t1"])).radii.radius.tolist() == [0.0]


# ---------------------------------------------------------------- alpha and p_A


def test_the_largest_radius_tells_alpha() -> None:
    assert cap(0.25, 100_000, 0.001) == pytest.approx(0.9528, abs=1e-4)  # 3.8115 sigma
    low, high = implied_alpha(0.978, 0.0005, 0.25, 100_000)
    assert low < 0.01 < high
    assert shortest_between(low, high) == 0.01
    assert shortest_between(0.00995, 0.00999) == 0.00999


def test_counts_are_recovered_from_radii() -> None:
    from rsctl.certificates.bounds import gaussian_radius, one_minus_lower

    hits = np.array([501, 60_000, 99_000, 99_990, 100_000])
    radius = gaussian_radius(one_minus_lower(hits, 100_000, 0.001), 0.5)
    inside = radius > 0
    assert (p_a_estimate(radius[inside], 0.5, 100_000, 0.001) * 100_000).round().tolist() == hits[
        inside
    ].tolist()
    assert p_a_lower(radius[inside], 0.5) == pytest.approx(1 - one_minus_lower(hits[inside], 100_000, 0.001))
    assert np.isnan(p_a_estimate(np.array([0.0]), 0.5, 1000, 0.001))[0]


def test_a_stated_alpha_that_the_radii_contradict_is_replaced_and_told(tmp_path: Path) -> None:
    file = put(tmp_path, "sigma_0.25.tsv", log(["0\t1\t1\t0.978\t1\t1"]))
    store = Store(tmp_path / "runs")
    (one,) = import_logs(store, "public", [file], GivenFacts(n=100_000, alpha=0.001, method="m"))
    assert "alpha = 0.001 is contradicted" in one.remarks[0]
    results = sweep_results(store, "public")
    assert results.logged[0].alpha == 0.01
    assert any("contradicted" in note for note in results.notes)
    (again,) = import_logs(store, "public", [file], GivenFacts(n=100_000, alpha=0.01, method="m"))
    assert again.remarks == []


# ---------------------------------------------------------------- the store


def test_an_import_can_be_repeated_and_corrected(tmp_path: Path) -> None:
    put(tmp_path, "logs/cifar10/resnet110/noise_0.50/test/sigma_0.25", log())
    put(tmp_path, "logs/cifar10/PGD/noise_0.50/test/sigma_1.00.tsv", log())
    put(tmp_path, "logs/header-only", HEADER + "\n")
    put(tmp_path, "logs/model.pt", "PK\x00")
    store = Store(tmp_path / "runs")
    states = [one.state for one in import_logs(store, "public", [tmp_path / "logs"], GivenFacts())]
    assert sorted(states) == ["new", "new", "skipped", "skipped"]
    stamps = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*")}
    states = [one.state for one in import_logs(store, "public", [tmp_path / "logs"], GivenFacts())]
    assert sorted(states) == ["skipped", "skipped", "unchanged", "unchanged"]
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*")} == stamps
    states = [one.state for one in import_logs(store, "public", [tmp_path / "logs"], GivenFacts(n=1000))]
    assert sorted(states) == ["changed", "changed", "skipped", "skipped"]
    specs = [one.spec for one in imports(store)]
    assert {(spec.method, spec.dataset, spec.model, spec.sigma) for spec in specs} == {
        ("log", "cifar10", "resnet110", 0.25), ("PGD", "cifar10", "unknown", 1.0),
    }  # fmt: skip


def test_a_log_is_called_alike_from_wherever_it_is_imported(tmp_path: Path) -> None:
    file = put(tmp_path, "logs/cohen2019/cifar10-resnet110-noise_0.25-sigma_0.25.tsv", log())
    store = Store(tmp_path / "runs")
    for path in (tmp_path / "logs", tmp_path / "logs" / "cohen2019", file):
        import_logs(store, "public", [path], GivenFacts())
    assert [one.spec.method for one in imports(store)] == ["cohen2019"]


def test_imports_stand_beside_ones_own_runs_and_say_that_counts_are_unknown(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path / "runs")
    import_logs(store, "sweep", [put(tmp_path, "a.tsv", log())], GivenFacts(sigma=0.5, dataset="digits"))
    results = sweep_results(store, "sweep")
    assert (len(results.rows), len(results.logged)) == (1, 1)
    assert "counts unknown" in results.logged[0].guarantee
    assert results.logged[0].alpha is None
    text = render(results, "md")
    assert "alpha = not stated" in text
    assert "(log)" in text
    other = sweep_results(store, "sweep", certificate="runner-up")
    assert not other.logged
    assert any("left out" in note for note in other.notes)


def test_a_sigma_that_cannot_be_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    (one, other) = import_logs(
        store,
        "p",
        [put(tmp_path, "sigma_0.12.tsv", log()), put(tmp_path, "b/sigma_0.25.tsv", log())],
        GivenFacts(method="m"),
    )
    assert one.state == "skipped"
    assert "is sigma = 0.12 right?" in one.remarks[0]
    assert other.state == "new"
    (said,) = import_logs(store, "p", [tmp_path / "b"], GivenFacts(sigma=0.5, method="m"))
    assert said.remarks == ["its path states sigma = 0.25, the import 0.5"]


def test_no_text_brings_a_traceback(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    text = log()
    for _ in range(300):
        broken = list(text)
        for place in rng.integers(0, len(text), rng.integers(1, 6)):
            broken[place] = str(rng.choice(["\t", "\n", "", "9", "-", "e", ".", "\x00", "é", "\r", "1e300"]))
        try:
            radii = parse_log("".join(broken)).radii
        except NotALog:
            continue
        assert (radii.index >= 0).all()
        assert np.isfinite(radii.radius).all()


def test_wrong_input_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "runs"))
    file = str(put(tmp_path, "a.tsv", log()))
    for arguments, told in (
        ([file, "--name", "p"], "--sigma"),
        ([file, "--name", "../p", "--sigma", "1"], "sweep '../p'"),
        ([file, "--name", "p", "--sigma", "-1"], "--sigma: must be above 0"),
        ([file, "--name", "p", "--sigma", "1", "--alpha", "2"], "--alpha"),
        ([str(tmp_path / "none"), "--name", "p", "--sigma", "1"], "no such file"),
        ([str(put(tmp_path, "b.tsv", HEADER + "\n")), "--name", "p", "--sigma", "1"], "no rows"),
    ):
        assert run(["import", *arguments]) == 2
        assert told in capsys.readouterr().err
    with pytest.raises(InputError, match="no sweep 'p'"):
        sweep_results(Store(tmp_path / "runs"), "p")


def test_text_of_a_log_cannot_leave_its_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "runs"))
    file = put(
        tmp_path, "=cmd|\x1b[2J_sigma_0.5.tsv", log([row + "\t0" for row in ROWS], HEADER + "\t\x1b[31mred")
    )
    assert run(["import", str(file), "--name", "p"]) == 0
    for form in ("md", "csv", "latex", "json"):
        assert run(["export", "p", "--format", form]) == 0
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "'=cmd" in out


def test_our_runs_as_logs_come_back_with_the_same_numbers(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path / "runs", grid={"sigma": [0.25, 0.5]})
    files, ours = export_logs(store, "sweep", tmp_path / "logs")
    assert len(files) == 2
    assert files[0].read_text().splitlines()[0] == HEADER
    other = Store(tmp_path / "other")
    import_logs(other, "back", [tmp_path / "logs"], GivenFacts(n=1000, alpha=0.001))
    theirs = sweep_results(other, "back", radii=[0.0, 0.25, 0.5])
    assert sorted(
        (row.acr, row.abstain_rate, row.cap_share, [c.certified for c in row.cells]) for row in ours.rows
    ) == sorted(
        (row.acr, row.abstain_rate, row.cap_share, [c.certified for c in row.cells]) for row in theirs.logged
    )
    assert not any("contradicted" in note for note in theirs.notes)


# ---------------------------------------------------------------- the reference logs


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the three public reference logs aren't on this machine")
def test_the_reference_logs_give_an_independent_computations_numbers_in_every_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path))
    assert (
        run(
            ["import", str(REFERENCE), "--name", "public", "--n", "100000", "--n0", "100", "--alpha", "0.001"]
        )
        == 0
    )
    radii = ["0", "0.25", "0.5", "0.75", "1", "1.5", "2"]
    wanted = {}
    for file in sorted(REFERENCE.rglob("*.tsv")):
        lines = [line.split("\t") for line in file.read_text().splitlines()[1:]]
        right = [Decimal(line[3]) for line in lines if line[1] == line[2]]
        accuracy = [sum(radius >= Decimal(r) for radius in right) for r in radii]
        (run_id,) = [
            one.id
            for one in imports(Store(tmp_path))
            if read_json(one.path / "spec.json")["spec"]["method"] in _method(file)
            and f"s{_sigma(file)}-" in one.id
        ]
        wanted[run_id] = (accuracy, len(lines), sum(right) / len(lines))
    assert len(wanted) == 3
    shown = {}
    capsys.readouterr()
    for form in ("md", "csv", "latex", "json"):
        assert run(["export", "public", "--format", form, "--radii", ",".join(radii)]) == 0
        shown[form] = capsys.readouterr().out
    for run_id, (accuracy, images, acr) in wanted.items():
        for rows in (csv.DictReader(io.StringIO(shown["csv"])), json.loads(shown["json"])["rows"]):
            mine = [row for row in rows if row["run"] == run_id]
            assert [Decimal(str(row["certified_accuracy"])) for row in mine] == [
                Decimal(k) / images for k in accuracy
            ]
            assert {float(row["acr"]) for row in mine} == {float(acr)}
        # Printed tables: one decimal of a per cent and three of the ACR, rounded down.
        cells = [f"{k // 10 // 10}.{k // 10 % 10}" for k in accuracy]
        floor = f"{int(acr * 1000) / 1000:.3f}"
        for form, between in (("md", r" +\| "), ("latex", r" & ")):
            pattern = between.join([*map(re.escape, cells), re.escape(floor)])
            assert re.search(pattern, re.sub(r"\\textbf\{([^}]*)\}", r"\1", shown[form])), (
                run_id,
                form,
                cells,
                floor,
            )


def _method(file: Path) -> str:
    return {"cohen2019": "cohen2019", "smoothadv": "smoothadv/pgd10-m8-eps255"}[file.parent.name]


def _sigma(file: Path) -> str:
    return f"{float(file.stem.rpartition('_')[2]):g}"


def test_what_a_method_is_called_is_said_and_can_be_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "runs"))
    folder = tmp_path / "macer" / "sigma_0.25"
    folder.mkdir(parents=True)
    (folder / "log.tsv").write_text(log())
    given = ["import", str(folder.parent), "--name", "public"]
    assert run(given) == 0
    said = capsys.readouterr().out
    assert ", method '" in said
    assert "named after their paths; --method sets another" in said
    assert run([*given, "--method", "macer 2020"]) == 0
    said = capsys.readouterr().out
    assert ", method 'macer 2020'" in said
    assert "by their paths" not in said
