"""An n that is too small for its alpha is said before anything is sampled, and under what was sampled all the same."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain import Chain, tiny
from report_cases import make_store

import rsctl.results.sweep
from jobs.attacks.smoothed import outvoted
from jobs.certify.predict import notes_of
from rsctl.catalog.declare import DataShape
from rsctl.certificates import certificates
from rsctl.certificates.exact_noise import level_left
from rsctl.certificates.possible import Asked, Draws, fewest, reach, too_few
from rsctl.certificates.stopping import RadiusWithin, shares
from rsctl.cli.app import run
from rsctl.cluster import control
from rsctl.config.runs import CONFIRMATIONS
from rsctl.plan.describe import describe
from rsctl.report.radius_logs.import_logs import GivenFacts, import_logs
from rsctl.report.tables.formats import render
from rsctl.results.sweep import sweep_results
from rsctl.store.layout import Store
from rsctl.tui.curves import Curves
from rsctl.tui.planned import read_sweep
from rsctl.tui.views import RunView

DRAWS = {
    "sigma": 0.25, "noise": "gaussian", "exponent": 0, "shell_edges": (), "selection": "noise", "n0": 100, "stopping": "fixed",
    "stop_radii": (), "stop_delta": 0.0, "gradient": False, "transfer": 0, "block": 1, "arithmetic": "float", "classes": 10,
    "dimension": 3072,
}  # fmt: skip
MEDIAN = 13.8549  # of the norms of such noise
ALPHA = 0.001


def draws(**changes: Any) -> Draws:
    return Draws(**{**DRAWS, **changes})


def first(holds: Any) -> int:
    return next(n for n in range(1, 1000) if holds(n))


def by_shells(n: int) -> bool:
    return (
        0.5 * (ALPHA / 2) ** (1 / (n // 2)) + 0.5 * (ALPHA / 2) ** (1 / (n - n // 2)) > 0.5
        if n > 1
        else False
    )


def by_looks(n: int) -> bool:
    looks = RadiusWithin(0.02, 0.25, 1e-80, n).draws
    spent = shares("radius-within", len(looks)) * 1e-80
    return max(spent ** (1 / looks)) > 0.5


CASES: dict[str, tuple[dict[str, Any], float, Any]] = {
    "cohen": ({}, ALPHA, lambda n: ALPHA ** (1 / n) > 0.5),
    "cohen-linf": ({}, ALPHA, lambda n: ALPHA ** (1 / n) > 0.5),
    "runner-up": ({}, ALPHA, lambda n: ALPHA ** (1 / n) > 0.5),
    "single-pass": ({"selection": "clean", "n0": 1}, 0.01, lambda n: 0.01 ** (1 / n) > 0.5),
    "second-order": ({"gradient": True}, ALPHA, lambda n: ALPHA ** (1 / n) > 0.5),
    "uniform-l1": ({"noise": "uniform"}, 1e-6, lambda n: 1e-6 ** (1 / n) > 0.5),
    "uniform-linf": ({"noise": "uniform"}, ALPHA, lambda n: ALPHA ** (1 / n) > 0.5),
    "laplace-l1": ({"noise": "laplace"}, ALPHA, lambda n: ALPHA ** (1 / n) > 0.5),
    "neyman-pearson": ({}, ALPHA, lambda n: ALPHA ** (1 / n) > 0.5),
    "dsrs": ({"shell_edges": (MEDIAN,)}, ALPHA, by_shells),
    "transfer": ({"transfer": 100}, ALPHA, lambda n: (0.8 * ALPHA) ** (1 / n) - 1 + (0.2 * ALPHA) ** 0.01 > 0.5),
    "sequential": ({"stopping": "radius-within", "stop_delta": 0.02}, 1e-80, by_looks),
    "top-2": ({}, ALPHA, lambda n: (ALPHA / 2) ** (1 / n) > min(1 - (ALPHA / 2) ** (1 / n), 2 * (1 - (ALPHA / 4) ** (1 / n))) / 2),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_fewest_draws_are_those_of_the_formula(name: str) -> None:
    changes, alpha, holds = CASES[name]
    wanted = first(holds)
    assert fewest(lambda n: reach(name, draws(**changes), n, alpha) > 0, 1) == wanted
    assert reach(name, draws(**changes), wanted - 1, alpha) == 0
    (said, *_) = too_few([Asked(name, draws(**changes), wanted - 1, alpha, (0.0,))])
    assert said == (
        f"n = {wanted - 1} is too small for alpha = {alpha:g}: even where all draws agree {name} certifies no image; n = {wanted} could."
    )
    enough = too_few([Asked(name, draws(**changes), wanted, alpha, (0.0,))])
    assert not any(name in said for said in enough)


def test_every_certificate_that_counts_draws_says_what_it_needs() -> None:
    """Whichever there are, plugins' too: what is said to be enough is, and one draw less isn't."""
    needs = {
        "dsrs": {"shell_edges": (MEDIAN,)}, "second-order": {"gradient": True}, "transfer": {"transfer": 1000},
        "sequential": {"stopping": "certify-at-radii", "stop_radii": (0.25,)}, "single-pass": {"selection": "clean", "n0": 1},
    }  # fmt: skip
    for name, rule in certificates().items():
        noise = name.split("-")[0] if name.startswith(("uniform", "laplace")) else "gaussian"
        asked = draws(noise=noise, **needs.get(name.removesuffix("-l1").removesuffix("-linf"), {}))
        found = fewest(lambda n, name=name, asked=asked: reach(name, asked, n, ALPHA) > 0, 1)
        if rule.guarantee.kind == "probabilistic":
            assert found is not None, name
            assert reach(name, asked, found - 1, ALPHA) == 0 < reach(name, asked, found, ALPHA), name


def test_exact_arithmetic_has_less_of_alpha_to_spend() -> None:
    asked = draws(arithmetic="exact")
    holds = lambda n: level_left(1e-9, 0.25, 3072, 100 + n) ** (1 / n) > 0.5  # noqa: E731
    wanted = first(holds)
    assert wanted > first(lambda n: 1e-9 ** (1 / n) > 0.5) - 1
    assert f"n = {wanted} could" in too_few([Asked("cohen", asked, 5, 1e-9, (0.0,))])[0]
    nothing = too_few([Asked("cohen", asked, 5, 1e-13, (0.0,))])[0]
    assert nothing.endswith("certifies no image; no n could, as these are sampled: take a larger alpha.")


def test_where_more_draws_of_the_one_kind_do_not_help_it_says_so() -> None:
    said = too_few([Asked("transfer", draws(transfer=3), 50, ALPHA, (0.0,))])
    assert said[0].endswith(
        "no n could, as these are sampled: take a larger alpha, or a larger certification.transfer."
    )


def test_a_radius_below_the_first_column_is_as_little_use() -> None:
    (said,) = [
        text
        for text in too_few([Asked("cohen", draws(), 10, ALPHA, (0.0, 0.25, 0.5))])
        if "PREDICT" not in text
    ]
    needed = first(lambda n: 0.25 * -_quantile(1 - ALPHA ** (1 / n)) >= 0.25)
    assert said == (
        "n = 10 is too small for alpha = 0.001: where all draws agree cohen certifies a radius of 0.00074, and nothing at 0.25, the first "
        f"column beyond 0; n = {needed} could."
    )  # fmt: skip
    assert too_few([Asked("cohen", draws(), needed, ALPHA, (0.0, 0.25, 0.5))]) == []
    assert (
        too_few([Asked("cohen-linf", draws(), 100_000, ALPHA, (0.0, 0.25))]) == []
    )  # no n could: a matter of radii


def _quantile(p: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(p)


def test_runs_that_lack_the_same_are_told_in_one_sentence() -> None:
    several = [Asked("cohen", draws(sigma=sigma), 20, ALPHA, (0.0, 0.5)) for sigma in (0.25, 0.5)]
    (said,) = too_few(several)
    assert "certifies a radius of 0.27" in said
    needed = first(lambda n: 0.25 * -_quantile(1 - ALPHA ** (1 / n)) >= 0.5)
    assert f"n = {needed} could" in said


def few(n: int = 8, **changes: Any) -> dict[str, Any]:
    certification = {
        "n": n,
        "n0": 8,
        "tile": 100,
        "block": 50,
        "certificates": ["runner-up", "top-2"],
        "radii": [0.0],
        **changes,
    }
    return tiny(certification=certification)


def test_check_and_submit_say_which_n_could(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    expected = [
        "note: certification.n: n = 8 is too small for alpha = 0.001: even where all draws agree runner-up certifies no image; n = 10 could.",
        "note: certification.n: n = 8 is too small for alpha = 0.001: even where all draws agree PREDICT returns no class; n = 11 could.",
    ]
    file = chain.file(few())
    said = describe(control.plan_file(file, chain.place), chain.place).text.splitlines()
    assert [line for line in said if line.startswith("note")] == expected
    assert control.submit(file, chain.place).committed.notes == expected
    assert "note" not in describe(control.plan_file(chain.file(few(11)), chain.place), chain.place).text


def test_tables_say_it_in_every_format_and_at_the_alpha_they_are_derived_at(tmp_path: Path) -> None:
    store, _ = make_store(
        tmp_path, certification={"n0": 10, "n": 1000, "certificates": ["cohen"], "radii": [0.0, 0.25]}
    )
    read = lambda **more: rsctl.results.sweep.sweep_results(store, "sweep", **more)  # noqa: E731
    assert read().notes == []
    results = read(alpha=1e-305)  # between 2^-1014 and 2^-1013
    told = "n = 1000 is too small for alpha = 1e-305: even where all draws agree cohen certifies no image; n = 1,014 could."
    assert told in results.notes
    assert any("PREDICT returns no class" in note for note in results.notes)
    for form in ("md", "latex", "json"):
        assert "certifies no image; n = 1,014 could" in render(results, form), form
    assert told in json.loads(render(results, "json"))["notes"]


def test_the_dashboard_says_it_beside_the_curve(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path)
    (entry,) = read_sweep(store, "sweep", None).entries
    view = RunView(
        entry.key,
        "sweep",
        entry.title,
        entry.title,
        entry.model,
        entry.counts,
        entry.settings,
        entry.values,
        (),
    )
    assert Curves().of(str(tmp_path), view).problems == ()
    (said, *_) = Curves().of(str(tmp_path), view, alpha=1e-305).problems
    assert "cohen certifies no image; n = 1,014 could." in said


def test_predict_says_which_n_could_return_a_class() -> None:
    shape = DataShape(3, 32, 10, {"test": 10})
    options = argparse.Namespace(sigma=0.25, n=10, alpha=0.001, arithmetic="float")
    assert notes_of(options, shape) == [
        "n = 10 is too small for alpha = 0.001: even where all draws agree PREDICT returns no class; n = 11 could."
    ]
    assert notes_of(argparse.Namespace(**{**vars(options), "n": 11}), shape) == []
    assert notes_of(argparse.Namespace(**{**vars(options), "alpha": 1.0}), shape) == []
    assert "no n could" in notes_of(argparse.Namespace(**{**vars(options), "alpha": 0.0}), shape)[0]


def test_an_attack_whose_finds_no_draws_could_confirm_says_so(chain: Chain) -> None:
    attack = {"attack": "ddn", "target": "smoothed", "n": 13, "alpha": 0.001}
    file = chain.file(tiny(attack=attack, certification={"certificates": []}))
    said = describe(control.plan_file(file, chain.place), chain.place).text
    assert (
        "note: attack.n: n = 13 is too small for alpha = 0.001: even where all draws agree nothing that ddn finds is confirmed; n = 14 could."
        in said
    )
    assert outvoted(np.array([[[0, 9], [0, 13]]]), np.zeros(1, np.int64), 1)[0] > 0.001 / CONFIRMATIONS
    assert outvoted(np.array([[[0, 9], [0, 14]]]), np.zeros(1, np.int64), 1)[0] <= 0.001 / CONFIRMATIONS
    file = chain.file(tiny(attack={**attack, "n": 14}, certification={"certificates": []}))
    assert "too small" not in describe(control.plan_file(file, chain.place), chain.place).text


def test_the_command_says_so_on_stderr_and_in_its_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"index": 0, "label": 1, "predicted": -1, "name": "abstains", "votes": 10}
    known = {"notes": ["n = 10 is too small"], "rows": [row]}
    monkeypatch.setattr("rsctl.cli.checkpoint.examine", lambda *_: known)
    asked = ["predict", "net.pt", "--dataset", "digits", "--sigma", "0.25", "--images", "0", "--n", "10"]
    assert run(asked) == 0
    said = capsys.readouterr()
    assert said.err == "note: n = 10 is too small\n"
    assert "abstains" in said.out
    assert run([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == known


@pytest.mark.parametrize(
    ("header", "row", "n0", "level"),
    [
        ("idx\tlabel\tpredict\tcount\tn", "0\t1\t1\t9\t9", 100, "0.001"),
        ("idx\tlabel\tpredict\tcount_0\tcount_1\tcount_2", "0\t1\t1\t0\t9\t0", None, "0.000333333"),
    ],
)
def test_counts_of_logs_say_it_too(tmp_path: Path, header: str, row: str, n0: int | None, level: str) -> None:
    (tmp_path / "sigma_0.50").write_text(f"{header}\n{row}\n")
    store = Store(tmp_path / "runs")
    import_logs(store, "s", [tmp_path / "sigma_0.50"], GivenFacts(n0=n0, alpha=0.001))
    needed = first(lambda n: float(level) ** (1 / n) > 0.5)
    said = f"n = 9 is too small for alpha = {level}: even where all draws agree cohen certifies no image; n = {needed} could."
    notes = sweep_results(store, "s").notes
    assert [note for note in notes if "too small" in note] == [said]
    assert not any("too small" in note for note in sweep_results(store, "s", alpha=0.9).notes)
    (entry,) = read_sweep(store, "s", None).entries
    view = RunView("s", "s", "s", "s", "", entry.counts, entry.settings, entry.values, ())
    assert said in Curves().of(str(store.root), view).problems
