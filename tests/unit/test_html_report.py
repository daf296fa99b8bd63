"""The HTML report: numbers of the export, every kind of result, nothing private, and no text that becomes markup."""

from __future__ import annotations

import base64
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from chain import Chain, tiny
from html_pages import Page
from report_cases import make_store, write_counts
from test_report_learned import images, store_of

from jobs.data import load
from rsctl.cli.app import run
from rsctl.report.html import document
from rsctl.report.html.charts import ticks
from rsctl.report.html.document import html_report
from rsctl.report.html.elements import data, element, markup
from rsctl.report.html.images import four
from rsctl.report.html.pictures import PictureSource, draw_pictures
from rsctl.report.html.private import Private, own_names
from rsctl.report.tables.cells import lines_table
from rsctl.report.tables.formats import to_csv, to_json
from rsctl.results.contradictions import Contradiction
from rsctl.results.lines import groups
from rsctl.results.sweep import Results, sweep_results
from rsctl.store.layout import Store

ATTACK = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
GRID: dict[str, Any] = {
    "grid": {"sigma": [0.25, 0.5], "seed": [0, 1]},
    "description": "A sweep & <its> description",
}


def page_of(store: Store, **options: Any) -> Page:
    source, _ = html_report(store, "sweep", store.root / "data", pictures=False, **options)
    return Page(source.decode())


def download(page: Page, suffix: str) -> str:
    (address,) = [
        values["href"] for tag, values in page.tags if tag == "a" and (values.get("download") or "").endswith(suffix)
    ]  # fmt: skip
    return base64.b64decode(str(address).partition(",")[2]).decode()


def test_numbers_are_those_of_the_export(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path, **GRID)
    page, results = page_of(store), sweep_results(store, "sweep")
    (group,) = groups(results.every)
    header, *lines = lines_table(group)
    shown_header, *shown = page.tables[0]
    assert len(shown) == len(lines) == 2
    for line, cells in zip(lines, shown, strict=True):
        assert cells == [text for head, text in zip(header, line, strict=True) if head in shown_header]
    assert download(page, ".csv") == to_csv(results)
    assert download(page, ".json") == to_json(results)
    # The chart's readout at a column's radius is the number of the table.
    (chart,) = [one for one in page.values["charts"] if one["id"] == "curve-1"]
    for line, drawn in zip(lines, chart["lines"], strict=True):
        at = drawn["shown"][drawn["x"].index(0.25)]
        assert at.split(" [")[0] == line[header.index("0.25")].split(" ±")[0]


def test_another_certificate_alpha_and_radii_are_those_of_the_export(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path, **GRID)
    choice: dict[str, Any] = {"certificate": "runner-up", "alpha": 0.05, "radii": [0.1, 0.3]}
    page = page_of(store, options=["--alpha", "0.05"], **choice)
    assert download(page, ".csv") == to_csv(sweep_results(store, "sweep", **choice))
    assert "rsctl report sweep --alpha 0.05 -o report.html" in page.text


def test_under_every_number_is_its_interval_and_what_is_proved(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path)
    page, (row,) = page_of(store), sweep_results(store, "sweep").rows
    small = re.findall(r"<small class=\"(\w+)\">([^<]*)</small>", page.source)
    assert [kind for kind, _ in small] == ["interval", "proved"] * len(row.cells)
    for cell, (_, proved) in zip(row.cells, small[1::2], strict=True):
        assert 0 <= 100 * row.proved(cell) - float(proved.removeprefix("≥ ")) < 0.1
    assert f"Guarantee. cohen: {row.guarantee}." in page.captions[0]


def test_images_with_their_counts(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path)
    (row,) = sweep_results(store, "sweep", cascade=None).rows
    (shown,) = page_of(store).values["images"]
    assert shown["index"] == row.index.tolist()
    assert shown["label"] == row.labels.tolist()
    (its,) = shown["runs"]
    assert its["predicted"] == row.certified.predicted.tolist()
    for radius, exact in zip(its["radius"], row.certified.radius.tolist(), strict=True):
        assert 0 <= exact - radius < 1e-4
    for counts, n in zip(its["counts"], its["n"], strict=True):
        assert sum(counts[1::2]) == n == 1000


def test_distances_that_bound_a_radius_are_rounded_up() -> None:
    assert four(0.12345) == 0.1234
    assert four(0.12341, up=True) == 0.1235
    assert four(float("inf"), up=True) is None


def test_unfinished_runs_and_networks_that_learned_nothing(tmp_path: Path) -> None:
    store, runs = store_of(tmp_path, {0: 3}, grid={"seed": [0, 1]})
    write_counts(runs[1], images(runs[1])[:7], seed=1)
    page = page_of(store)
    assert "ONE CLASS" in page.tables[0][1][0]
    assert "LEARNED NOTHING" in page.text
    assert "Networks that learned nothing" in page.text
    assert "1 of 2 rows unfinished" in page.text
    assert len(page.values["images"][0]["runs"]) == 2


def test_no_result_yet(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path, counts=False)
    page = page_of(store)
    assert "Images 0 of 360" in page.captions[0]
    assert page.values == {"charts": [], "images": []}


def test_cascades_and_their_levels(tmp_path: Path) -> None:
    make_store(tmp_path, grid={"sigma": [0.25, 0.5]})
    from rsctl.cli.numbers import parse_cascade

    page = page_of(Store(tmp_path), cascade=parse_cascade("0.25,0.5", "0.9"))
    assert "cascade of σ = 0.25 → 0.5, τ = 0.9" in page.text
    assert [run["kind"] for run in page.values["images"][0]["runs"]] == ["counts", "counts", "cascades"]


def test_contradicted_certificates_are_the_first_thing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    store, (counted,) = make_store(tmp_path)
    found = Contradiction(3, 0.4, 0.2, "l2", "cohen", "probabilistic", f"counts/{counted.id}", "attacks/other", 0.001)  # fmt: skip

    def broken(*given: Any, **options: Any) -> Results:
        return replace(sweep_results(*given, **options), broken=[found], notes=[str(found)])

    monkeypatch.setattr(document, "sweep_results", broken)
    page = page_of(store)
    assert page.source.index("✗ Broken certificates") < page.source.index('id="tables"')
    (run_of,) = page.values["images"][0]["runs"]
    assert [page.values["images"][0]["index"][run_of["at"][k]] for k in run_of["broken"]] == [3]


def test_every_kind_of_result_of_a_real_sweep(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    values = tiny(
        verification=[{"verifier": "ibp", "norm": "linf", "radii": [0.1]}],
        attack=[{"attack": "pgd", "norm": "l2", "target": "base", "steps": 2, "searches": 1}],
    )
    chain.run_all(values)
    assert run(["report", "tiny", "-o", "page.html"]) == 0
    page = Page(Path("page.html").read_text())
    assert {"Training loss", "Training accuracy, under noise"} <= set(page.captions)
    (shown,) = page.values["images"]
    assert sorted(one["kind"] for one in shown["runs"]) == ["attacks", "counts", "verifications"]
    assert all(one.startswith("data:image/png;base64,") for one in shown["pictures"])
    assert [one["id"] for one in page.values["charts"]][-2:] == ["training-loss", "training-accuracy"]
    assert all(one["lines"][0]["x"] for one in page.values["charts"])
    # A page of rsctl's own is replaced, one that was edited since isn't.
    assert run(["report", "tiny", "-o", "page.html", "--no-pictures"]) == 0
    Path("page.html").write_text(Path("page.html").read_text() + "x")
    assert run(["report", "tiny", "-o", "page.html"]) == 2
    assert run(["report", "tiny", "-o", "page.pdf"]) == 2
    assert "a report ends in .html" in capsys.readouterr().err


def test_pictures_of_data_with_other_labels_are_left_out(chain: Chain) -> None:
    source = PictureSource("digits", {}, "test", "", ())
    labels = digits_labels(4)
    pictures, why = draw_pictures(source, chain.place.data, labels)
    assert (list(pictures), why) == ([0, 1, 2, 3], "")
    pictures, why = draw_pictures(source, chain.place.data, {**labels, 2: labels[2] + 1})
    assert (pictures, why) == ({}, "the data on this machine has other labels than these results")
    pictures, why = draw_pictures(PictureSource("mnist", {}, "test", "", ()), chain.place.data, labels)
    assert pictures == {}
    assert "mnist" in why


def digits_labels(number: int) -> dict[int, int]:
    """The first labels of the digits, by position."""
    images = load("digits", {}, "test", Path("data"), positions=range(number))
    return dict(enumerate(images.batch(torch.arange(number))[1].tolist()))


def test_an_imported_log_alone(chain: Chain) -> None:
    folder = chain.folder / f"a{ATTACK.partition('/')[0]}b" / "cifar10" / "sigma_0.25"
    folder.mkdir(parents=True)
    rows = "".join(f"{i}\t{i % 10}\t{i % 10}\t{0.1 * i:.3f}\t1\t0:00:01\n" for i in range(6))
    (folder / "log.tsv").write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n" + rows)
    given = ["--n", "1000", "--n0", "100", "--alpha", "0.001"]
    assert run(["import", str(folder), "--name", "logs", "--method", ATTACK, *given]) == 0
    assert run(["report", "logs", "-o", "logs.html", "--no-pictures"]) == 0
    page = Page(Path("logs.html").read_text())
    assert "window.hacked = 1" in page.tables[0][1][0]
    assert [tag for tag, _ in page.tags if tag == "script"] == ["script", "script"]
    assert [tag for tag, _ in page.tags if tag == "img"] == []
    assert len(page.values["images"][0]["index"]) == 6
    assert "rsctl import log.tsv --name logs" in page.text
    assert str(chain.folder) not in page.source


def test_no_text_becomes_markup() -> None:
    made = element("p", ATTACK, element("b", ATTACK, title=f'"{ATTACK}'), ATTACK, class_="x")
    page = Page(markup(made))
    assert [tag for tag, _ in page.tags] == ["p", "b"]
    assert page.text == ATTACK * 3
    assert page.tags[1][1] == {"title": f'"{ATTACK}'}
    values = Page(markup(data("values", {ATTACK: [ATTACK, "<!--"]})))
    assert [tag for tag, _ in values.tags] == ["script"]
    assert values.values == {ATTACK: [ATTACK, "<!--"]}
    assert "<" not in values.scripts[0]
    assert markup(element("p", "a\x1b\u202eb")) == "<p>a��b</p>"


def test_the_page_forbids_the_network_and_other_scripts(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path, description=ATTACK)
    page = page_of(store)
    (policy,) = [values["content"] for tag, values in page.tags if tag == "meta" and values.get("http-equiv")]
    assert str(policy).startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in str(policy)
    addresses = [values.get(key) or "" for _, values in page.tags for key in ("src", "href") if key in values]
    assert {re.split(r"[:#]", one)[0] for one in addresses} <= {"data", ""}
    assert not any(key.startswith("on") or key == "style" for _, values in page.tags for key in values)
    assert ATTACK in page.text
    assert [tag for tag, _ in page.tags if tag == "script"] == ["script", "script"]


def test_nothing_private_is_in_it(tmp_path: Path) -> None:
    note = f"from {tmp_path}/x on {socket.gethostname()}, see /home/anna/thesis/data and file:///srv/anna/y"
    store, _ = make_store(tmp_path, description=note)
    page = page_of(store)
    everything = page.source + download(page, ".csv") + download(page, ".json")
    for secret in (str(tmp_path), "/home/anna", "/srv/anna", str(Path.home() / "x"), "/site-packages/"):
        assert secret not in everything
    if socket.gethostname() in own_names() and len(socket.gethostname()) > 2:
        assert socket.gethostname() not in everything
    assert "see …/data and …/y" in page.text


def test_a_private_name_in_a_sweeps_name_is_in_no_title(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = make_store(tmp_path)
    (sweep,) = store.sweep_names()
    monkeypatch.setattr(document, "own_names", lambda: [sweep])
    assert sweep not in page_of(store).source.partition("</title>")[0]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("radius 2/255, images/s, T-shirt/top, r/√64", "radius 2/255, images/s, T-shirt/top, r/√64"),
        ("/data/cifar/file.bin: is missing", "…/file.bin: is missing"),
        ('file = "/home/anna/model.pt"', 'file = "…/model.pt"'),
        ("x=/a/b/c, (/d/e)", "x=…/c, (…/e)"),
        ("by anna on node-17.", "by … on …."),
        ("annabel on node-171", "annabel on node-171"),
        ("/store/x and /store", "…/x and …"),
    ],
)
def test_paths_and_names_are_removed(text: str, left: str) -> None:
    assert Private([Path("/store/of/anna"), Path("/store")], ["anna", "node-17", "root"])(text) == left


def test_round_ticks() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(0, 1.12) == [0, 0.25, 0.5, 0.75, 1]
    assert ticks(-0.3, 0.31) == [-0.2, 0.0, 0.2]
    assert ticks(2, 2) == [2]


@pytest.mark.long
def test_twelve_runs_of_500_images_fit_three_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    from rsctl.report.html import images as browser

    store, _ = make_store(
        tmp_path, method=[{"name": "gaussian"}, {"name": "stability"}, {"name": "macer"}],
        grid={"sigma": [0.12, 0.25, 0.5, 1.0]}, dataset="mnist", certification={"n0": 10, "n": 1000, "max_images": 500, "certificates": ["cohen"]},
    )  # fmt: skip
    # Photographs of the largest size that is kept: 64 × 64 compress to at most 3 kB, of which 500 are more than allowed.
    monkeypatch.setattr(browser, "draw_pictures", lambda *given: (dict.fromkeys(given[2], "data:," + "x" * 4000), ""))  # fmt: skip
    source, results = html_report(store, "sweep", tmp_path)
    assert len(results.rows) == 12
    assert {row.images for row in results.rows} == {500}
    assert len(source) < 3_000_000
