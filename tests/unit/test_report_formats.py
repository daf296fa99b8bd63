"""Tables: what is rounded which way, what is merged, what is bold, and that text from outside stays text."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_cases import make_row, make_store
from scipy.stats import beta, binom

from rsctl.certificates import Certified, find_certificate
from rsctl.certificates.cohen import predict
from rsctl.cli.app import run
from rsctl.report.tables.formats import FORMATS, render
from rsctl.report.tables.legend import MEANINGS
from rsctl.report.typeset import escape_csv, escape_latex, escape_markdown
from rsctl.results.accuracy import Cell, curve
from rsctl.results.clean import clean_accuracy
from rsctl.results.image_order import describe_selection
from rsctl.results.measurement import Measurement
from rsctl.results.notes import mark_varying, warnings
from rsctl.results.rounding import percent, percent_up, three_down
from rsctl.results.sweep import Results, sweep_results
from rsctl.store.tables import read_table

NASTY = "=1+1 |a`*_[x](y)<b>&amp; $x$ 100% #1 {z} \\input{/etc/passwd} ~^ \x1b[31m\x07 \u202eevil 中"


def results(*rows: Measurement, notes: list[str] | None = None) -> Results:
    return Results("sweep", "", list(rows), notes or [])


def table(text: str) -> list[list[str]]:
    """The cells of the first pipe table."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_exact_arithmetic_and_float_never_share_a_caption(tmp_path: Path) -> None:
    """A caption says the guarantee of all lines below it."""
    store, _ = make_store(tmp_path, grid={"certification.arithmetic": ["exact", "float"]})
    found = sweep_results(store, "sweep")
    for form in ("md", "latex"):
        text = render(found, form).replace("$g$", "g")
        assert text.count("Certified accuracy (") >= 2
        assert text.count("probabilistic 0.999 per image, of the smoothed classifier g,") == 1
        assert text.count("probabilistic 0.999 per image, of the smoothed classifier g;") == 1


def test_a_run_that_several_points_name_is_one_run_and_not_several_seeds(tmp_path: Path) -> None:
    def shown(folder: str, grid: dict[str, Any], kind: str = "rows", **options: Any) -> int:
        verification = [{"verifier": "ibp", "radii": [0.01]}]
        attack = [{"attack": "ddn"}]
        store, _ = make_store(
            tmp_path / folder, counts=False, grid=grid, verification=verification, attack=attack
        )
        return len(getattr(sweep_results(store, "sweep", **options), kind))

    assert shown("shards", {"certification.shards": [1, 2]}) == 1
    assert shown("names", {"certification.certificates": [["cohen"], ["cohen", "runner-up"]]}) == 2
    alphas = {"certification.alpha": [0.01, 0.001]}
    assert shown("alphas", alphas) == 2
    assert shown("one alpha", alphas, alpha=0.1) == 1
    for kind in ("proved", "attacked"):
        assert shown(kind, {"certification.n": [100, 200]}, kind) == 1
        assert shown(f"{kind} images", {"certification.max_images": [5, 10]}, kind) == 2


# ---------------------------------------------------------------- numbers


def test_a_radius_on_the_boundary_counts_as_certified() -> None:
    certified = Certified(np.array([1, 1, -1, 2]), np.array([0.25, 0.2499, 0.0, 0.25]), np.zeros(4, bool))
    cells = curve(certified, np.array([1, 1, 1, 1]), [0.0, 0.25])
    assert [cell.certified for cell in cells] == [2, 1]


def test_abstentions_never_count_even_at_radius_zero() -> None:
    certified = Certified(np.array([-1]), np.array([0.0]), np.zeros(1, bool))
    assert curve(certified, np.array([0]), [0.0])[0].certified == 0


def test_every_share_of_thousand_images_prints_exactly_and_never_above() -> None:
    for k in range(1001):
        assert percent(k / 1000) == f"{k // 10}.{k % 10}"
    assert (percent(0.74999), percent_up(0.74901), three_down(0.42389)) == ("74.9", "75.0", "0.423")
    assert percent(2 / 3) == "66.6"
    assert percent_up(2 / 3) == "66.7"


def test_numbers_that_are_not_there_print_as_a_dash_and_are_null() -> None:
    row = make_row(images=0, acr=math.nan, abstain_rate=math.nan, cap_share=math.nan)
    assert table(render(results(row), "md"))[1][4] == "–"
    document = json.loads(render(results(row), "json"))
    assert document["rows"][0]["certified_accuracy"] is None
    assert document["rows"][0]["acr"] is None
    assert "nan" not in render(results(row), "csv").lower()


def test_the_worst_class_is_the_smallest_share_among_the_classes_that_are_there() -> None:
    certified = Certified(np.array([3, 3, 9, 9]), np.array([1.0, 0.1, 1.0, 1.0]), np.zeros(4, bool))
    cells = curve(certified, np.array([3, 3, 9, 9]), [0.0, 0.5])
    assert [cell.worst_class for cell in cells] == [1.0, 0.5]


def test_the_clean_rate_is_that_of_predict() -> None:
    rng = np.random.default_rng(0)
    for alpha in (0.001, 0.2, 0.9):
        counts = rng.multinomial(60, [0.4, 0.35, 0.25], 400)
        labels = rng.integers(0, 3, 400)
        from rsctl.certificates import CountTable

        given = CountTable(counts, counts, counts.sum(axis=1), 0.5, 64)
        assert clean_accuracy(given, labels, alpha) == (predict(counts, alpha) == labels).mean()


def test_a_sweep_is_recomputed_from_its_counts(tmp_path: Path) -> None:
    store, (run,) = make_store(tmp_path)
    (row,) = sweep_results(store, "sweep").rows
    stored = read_table(run)
    certified = find_certificate("cohen").certify(stored.counts(), 0.001)
    right = certified.predicted == stored.rows.label
    assert [cell.certified for cell in row.cells] == [
        int((right & (certified.radius >= r)).sum()) for r in (0, 0.25, 0.5)
    ]
    assert row.acr == pytest.approx((right * certified.radius).mean(), abs=1e-15)
    assert row.abstain_rate == (certified.predicted == -1).mean()
    assert (row.images, row.planned, row.subset) == (360, 360, "all of 360")
    assert (
        describe_selection({"skip": 20, "max": 5, "count": 5, "of": 360})
        == "5 drawn by seed from every 20th of 360"
    )


def test_a_file_that_can_t_be_read_is_named_and_the_rest_counts(tmp_path: Path) -> None:
    store, (run,) = make_store(tmp_path)
    for task in (7, 8):
        file = run.path / "shards" / f"000{task}.1.h5"
        file.parent.mkdir(exist_ok=True)
        file.write_text("spoilt")
    found = sweep_results(store, "sweep")
    assert found.rows[0].images == 360
    assert [sum(f"000{task}.1.h5" in note for note in found.notes) for task in (7, 8)] == [1, 1]


def test_a_partial_run_speaks_of_the_finished_prefix_and_says_so(tmp_path: Path) -> None:
    from report_cases import write_counts

    from rsctl.config.permutation import images_of

    store, (run,) = make_store(tmp_path, counts=False)
    order = images_of(360, 0.0, 0, 1, 0)
    write_counts(run, [*order[:50], *order[51:90]])
    found = sweep_results(store, "sweep")
    assert (found.rows[0].images, found.rows[0].planned) == (50, 360)
    assert any("1 of 1 rows is incomplete (50 of 360 images finished)" in note for note in found.notes)
    assert "50 of 360" in render(found, "md")


# ---------------------------------------------------------------- lines


def test_a_table_without_an_image_speaks_of_no_interval(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path, counts=False)
    said = render(sweep_results(store, "sweep"), "md")
    assert "No image is finished yet." in said
    assert "interval" not in said


def test_columns_come_in_the_order_of_their_radii(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path))
    make_store(tmp_path)
    assert run(["export", "sweep", "--radii", "0,0.25,2/255,1/4", "--format", "csv"]) == 0
    radii = [float(line["radius"]) for line in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert radii == [0, 2 / 255, 0.25]


def test_a_wide_table_says_once_what_is_the_same_in_every_line() -> None:
    rows = [
        make_row(accuracies=(0.9, *[0.5 - i / 100] * 9), sigma=s, acr=s)
        for i, s in enumerate((0.25, 0.5, 1.0))
    ]
    text = render(results(*rows), "md")
    header, *lines = table(text)
    assert header[:3] == ["Method", "σ", "0"]
    assert header[-1] == "ACR"
    assert "In every line: Model resnet110; Seed 0; Clean –; Abstain 10.0; At cap 0.0;" in text
    assert len(next(line for line in text.splitlines() if line.startswith("|"))) <= 120
    assert [line[1] for line in lines[:3]] == ["0.25", "0.5", "1"]
    # What differs stays, and so does what a single line measures; formats for machines are whole.
    other = render(results(*rows[1:], make_row("macer", (0.5,) * 10, abstain_rate=0.2)), "md")
    assert "Abstain" in table(other)[0]
    assert "Abstain" in table(render(results(rows[0]), "md"))[0]
    assert json.loads(render(results(*rows), "json"))["rows"][0]["abstain_rate"] == 0.1
    narrow = table(render(results(make_row()), "md"))[0]
    assert narrow[:4] == ["Method", "Model", "σ", "Seed"]


@pytest.mark.parametrize("form", ["md", "latex"])
def test_words_at_the_head_of_columns_are_explained_where_they_stand(form: str) -> None:
    text = render(results(make_row(), make_row(sigma=1.0)), form)
    told = next(line for line in text.splitlines() if "Columns. " in line)
    told = told.replace("$\\alpha$", "alpha").replace("$", "").replace("\\", "")
    unknown = {"Clean", "Worst class"} if form == "latex" else set()  # of no line
    for word in {"ACR", "Clean", "Abstain", "At cap", "Worst class"} - unknown:
        assert f"{word}: {MEANINGS[word]}" in told
    assert "Found" not in text
    assert "Columns. " not in render(results(), form)
    noted = results(make_row(), make_row(sigma=1.0), notes=["the seed 2 is missing"])
    brief = render(noted, form, brief=True)
    assert MEANINGS["ACR"] not in brief
    assert MEANINGS["Abstain"] not in brief
    assert "the seed 2 is missing" in brief
    assert "probabilistic 0.999" in brief
    assert len(brief) < len(render(noted, form))


def test_runs_that_differ_in_the_seed_alone_print_as_mean_and_deviation() -> None:
    rows = [make_row(accuracies=(a,), seed=i) for i, a in enumerate((0.5, 0.52, 0.6))]
    header, line = table(render(results(*rows), "md"))
    assert line[header.index("Seed")] == "3 seeds"
    assert line[4] == "54.0 ± 5.3"  # statistics.stdev = 5.2915 points, rounded up
    assert len(table(render(results(*rows), "md", merge_seeds=False))) == 1 + 3


def test_runs_that_differ_in_a_setting_are_never_merged() -> None:
    rows = [make_row(seed=0), make_row(seed=1)]
    changed = rows[1].training.model_copy(
        update={"recipe": rows[1].training.recipe.model_copy(update={"lr": 0.2})}
    )
    other = make_row(seed=1, train=changed)
    mark_varying([rows[0], other])
    text = render(results(rows[0], other), "md")
    assert "gaussian (lr=0.1)" in text
    assert "gaussian (lr=0.2)" in text


def test_another_subset_alpha_or_split_gets_a_table_of_its_own() -> None:
    rows = [make_row(), make_row(alpha=0.01), make_row(subset_key="other"), make_row(split="val")]
    assert render(results(*rows), "md").count("Certified accuracy (%)") == 4


def test_the_best_sigma_of_each_radius_is_named() -> None:
    rows = [make_row(accuracies=(0.8, 0.2), sigma=0.25), make_row(accuracies=(0.6, 0.4), sigma=0.5)]
    text = render(results(*rows), "md")
    assert "80.0 (0.25)" in text
    assert "40.0 (0.5)" in text
    unfinished = make_row(accuracies=(0.9, 0.9), sigma=1.0, images=10)
    assert "90.0 (1)" not in render(results(*rows, unfinished), "md")


def test_other_data_sets_are_no_tuning_and_hyperparameters_on_test_images_are() -> None:
    rows = [make_row(), make_row(dataset="svhn")]
    mark_varying(rows)
    assert not warnings(rows)
    changed = rows[0].training.model_copy(update={"hyperparameters": {"lam": 1.0}})
    rows = [make_row(), make_row(train=changed)]
    mark_varying(rows)
    assert "method.lam" in warnings(rows)[0]


# ---------------------------------------------------------------- formats


def test_csv_and_json_hold_the_same_rows(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path, grid={"sigma": [0.25, 0.5]})
    found = sweep_results(store, "sweep")
    rows = list(csv.DictReader(io.StringIO(render(found, "csv"))))
    document = json.loads(render(found, "json"))["rows"]
    wanted = "run,method,dataset,split,model,sigma,noise,seed,certificate,guarantee,norm,k,alpha,n,images,radius,certified_accuracy,acr,abstain_rate"
    assert set(wanted.split(",")) <= set(rows[0])
    assert len(rows) == len(document) == 6
    for line, values in zip(rows, document, strict=True):
        assert line == {key: "" if value is None else str(value) for key, value in values.items()}


def test_an_empty_csv_still_has_its_header() -> None:
    assert render(results(), "csv").startswith("run,source,method,")


def test_markdown_cells_keep_their_columns_whatever_the_text() -> None:
    row = make_row(NASTY)
    header, body = [line for line in render(results(row), "md").splitlines() if line.startswith("| ")]
    unescaped = [
        len([1 for i, c in enumerate(line) if c == "|" and line[i - 1] != "\\"]) for line in (header, body)
    ]
    assert unescaped[0] == unescaped[1]
    assert escape_markdown("# title") == "\\# title"
    assert escape_markdown("- item") == "\\- item"


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_steers_the_terminal(form: str) -> None:
    text = render(results(make_row(NASTY), notes=[NASTY]), form)
    assert not {c for c in text if not c.isprintable() and c != "\n"}


def test_no_cell_begins_a_formula() -> None:
    for text in ("=1+1", "+1", "-1", "@x", " =1", "\t=1", "\r=1", "＝1"):
        assert escape_csv(text).startswith("'"), text
    assert escape_csv(-1.5) == -1.5


def test_latex_is_ascii_and_a_comment_cannot_end() -> None:
    text = render(results(make_row(NASTY), notes=["a\nb\u2028c\x0bd\r\\end{document}"]), "latex")
    assert text.isascii() or "中" not in escape_latex("中")
    assert all(
        line.startswith("%")
        for line in text.splitlines()
        if "end{document}" in line and "rsctlend" not in line
    )


def test_intervals_are_clopper_pearson_and_rounded_outward() -> None:
    cell = Cell(0.0, 5, 10)
    assert cell.interval == pytest.approx((0.1870860, 0.8129140), abs=1e-6)  # Clopper, Pearson 1934
    assert Cell(0.0, 10, 10).interval == pytest.approx((0.025**0.1, 1))
    assert Cell(0.0, 0, 10).interval == pytest.approx((0, 1 - 0.025**0.1))
    assert Cell(0.0, 0, 0).interval == (0, 1)
    assert "50.0 [18.7, 81.3]" in render(
        results(make_row(images=10, planned=10)), "md", intervals=True
    ).replace("\\", "")


def test_bounds_of_many_images_are_bit_for_bit_those_of_each() -> None:
    # Many images are looked up in a table that the runs of a sweep share; a few are computed directly.
    from rsctl.certificates.bounds import one_minus_lower

    k = np.random.default_rng(3).integers(0, 1001, 400)
    for alpha in (0.001, 0.05, 0.001):
        many = one_minus_lower(k, 1000, alpha)
        assert many.tolist() == [float(one_minus_lower(int(one), 1000, alpha)) for one in k]


def test_what_is_proved_of_these_images_leaves_out_the_claims_that_may_be_wrong(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path)
    found = sweep_results(store, "sweep")
    (row,) = found.rows
    # P(Bin(360, 0.001) > 3) = 0.0005 ≤ 0.001 < P(Bin(360, 0.001) > 2) = 0.0059
    assert row.wrong_claims == 3
    lines = json.loads(render(found, "json"))["rows"]
    assert [line["proved_accuracy"] for line in lines] == [max(c.certified - 3, 0) / 360 for c in row.cells]
    # Clopper and Pearson over images, and a certificate that fails counts as one with probability alpha.
    for line, cell in zip(lines, row.cells, strict=True):
        low = beta.ppf(0.001, cell.certified, 360 - cell.certified + 1) if cell.certified else 0.0
        assert line["population_accuracy"] == pytest.approx(max(low - 0.001, 0), abs=1e-12)
    assert 0 < lines[0]["population_accuracy"] < lines[0]["proved_accuracy"]
    assert "at most 3 images of a run are certified wrongly" in render(found, "md")
    # With an alpha that isn't the failure probability of the set by chance.
    (looser,) = sweep_results(store, "sweep", alpha=0.02).rows
    cell = looser.cells[0]
    assert looser.wrong_claims == binom.ppf(1 - 0.001, 360, 0.02) > 3
    assert looser.proved(cell) == (cell.certified - looser.wrong_claims) / 360
    low = beta.ppf(0.001, cell.certified, 360 - cell.certified + 1)
    assert looser.proved_of_population(cell) == pytest.approx(low - 0.02, abs=1e-12)
    assert "proved" not in render(results(make_row()), "md")


def test_a_sequential_run_tells_its_draws_and_what_stopping_cost(tmp_path: Path) -> None:
    from rsctl.certificates.stopping import RadiusWithin
    from rsctl.store.files import replace
    from rsctl.store.shards import Rows, Shard, encode_shard

    settings = {
        "n0": 10,
        "n": 1000,
        "stopping": "radius-within",
        "certificates": ["sequential"],
        "radii": [0.0],
    }
    store, (run,) = make_store(tmp_path, counts=False, certification=settings)
    draws = RadiusWithin(0.02, 0.5, 0.001, 1000, 100).draws
    at_looks = np.zeros((360, len(draws), 10), np.int32)
    at_looks[:180, :, 0] = draws  # half of the images take every look, the others stop at the first
    at_looks[180:, 0, 0] = draws[0]
    counts = np.maximum.accumulate(at_looks, axis=1)[:, -1]
    none = np.zeros(360)
    selection = np.zeros((360, 10), np.int32)
    selection[:, 0] = 10
    rows = Rows(
        index=np.arange(360), label=none.astype(np.int32), selection_counts=selection, counts=counts,
        n=counts.sum(axis=1).astype(np.int64), seconds=none, fingerprint=none.astype(np.int32), extras={"looks": {"draws": draws, "counts": at_looks}},
    )  # fmt: skip
    attributes = {"spec_hash": run.spec.hash, "model_sha256": run.spec.hash, "dimension": 64}
    replace(run.path / "counts.h5", encode_shard(Shard(rows, attributes, [{"device": "none"}]), {}, 0.001))
    found = sweep_results(store, "sweep")
    (row,) = found.rows
    assert row.mean_draws == (draws[-1] + draws[0]) / 2
    assert math.isnan(row.clean_accuracy)
    assert row.cells[0].certified == 360
    assert any("until 'radius-within' was met: 600 draws" in note for note in found.notes)
    assert "stopped by 'radius-within'" in render(found, "md").replace("\\", "")


def test_bounds_of_a_few_alphas_are_bit_for_bit_those_of_each() -> None:
    from rsctl.certificates.bounds import one_minus_lower
    from rsctl.certificates.runner_up import split

    rng = np.random.default_rng(4)
    k, alpha = rng.integers(0, 1001, 400), rng.choice([0.001, 0.0005, 0.01], 400)
    many = one_minus_lower(k, 1000, alpha)
    assert many.tolist() == [
        float(one_minus_lower(int(a), 1000, float(b))) for a, b in zip(k, alpha, strict=True)
    ]
    selection, n = rng.multinomial(50, [0.5, 0.3, 0.2], 300), np.full(300, 1000)
    each = [split(selection[i : i + 1], n[:1], 0.001)[0] for i in range(300)]
    assert split(selection, n, 0.001).tolist() == each
