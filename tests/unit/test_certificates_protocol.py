"""What a count table refuses to be, what every certificate refuses, and the label that goes with a radius."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rsctl.catalog import use_plugins
from rsctl.certificates import (
    CountTable,
    GradientSums,
    Guarantee,
    Looks,
    Shells,
    certificates,
    find_certificate,
)
from rsctl.certificates.protocol import counts_of
from rsctl.certificates.table import QUANTUM
from rsctl.errors import InputError, RefusedError

COUNTS = np.array([[90, 10, 0], [80, 15, 5]], np.int32)
GOOD = CountTable(
    np.array([[9, 1, 0], [8, 1, 1]]), COUNTS, np.array([100, 100]), 0.25, 3072, label=np.array([0, 0])
)
LOOKS = Looks(np.array([40, 100]), np.array([[[40, 0, 0], [90, 10, 0]], [[30, 10, 0], [80, 15, 5]]]))
SHELLS = Shells(
    (1.0, 2.0), np.array([[[50, 10, 0], [40, 0, 0], [0, 0, 0]], [[80, 0, 5], [0, 9, 0], [0, 6, 0]]])
)
HALVES = GradientSums((60, 40), np.array([[7, 3], [20, 0]]), np.array([[5.0, 6.0, 8.0], [9.0, 0.0, 0.0]]))


def changed(array: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    """With another value in one place: of one image alone, for all of them would be noticed by a weaker check."""
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"counts": changed(COUNTS, (1, 2), 6)}, "counts of 1 images don't sum to n .first at row 1"),
        ({"counts": changed(changed(COUNTS, (1, 2), -5), (1, 0), 90)}, "negative"),
        ({"selection_counts": np.array([[9, 1, 0], [11, -1, 0]])}, "negative"),
        ({"counts": COUNTS.astype(float)}, "not whole numbers"),
        ({"counts": changed(COUNTS.astype(float), (0, 0), np.nan)}, "not whole numbers"),
        ({"counts": COUNTS[:, :2]}, "must both be"),
        ({"counts": COUNTS[0], "selection_counts": COUNTS[0]}, "must both be"),
        ({"n": np.array(100)}, "n has shape"),
        ({"n": np.array([100, 99])}, "don't sum to n"),
        ({"label": np.array([0])}, "label has shape"),
        ({"label": np.array([0.0, 0.0])}, "label holds"),
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": float("nan")}, "sigma"),
        ({"sigma": float("inf")}, "sigma"),
        ({"exponent": 1}, "no exponent 1"),
        ({"selection": "clean"}, "one class per image"),
        ({"selection": "clean", "selection_counts": np.array([[1, 0, 0], [1, 1, 0]])}, "one class per image"),
        ({"arithmetic": "exact", "noise": "uniform"}, "exact arithmetic is for Gaussian noise"),
        ({"arithmetic": "exact", "shells": SHELLS}, "without shells"),
        ({"arithmetic": "exact", "gradient_sums": HALVES}, "sums of noise"),
        ({"looks": Looks(np.array([[40, 100]]), LOOKS.counts)}, "looks of shape"),
        ({"looks": Looks(np.array([40, 100, 200]), LOOKS.counts)}, "looks of shape"),
        ({"looks": Looks(np.array([0, 100]), LOOKS.counts)}, "positive and ascending"),
        ({"looks": Looks(np.array([100, 100]), LOOKS.counts)}, "positive and ascending"),
        ({"looks": Looks(np.array([40, 100, 100]), LOOKS.counts[:, [0, 1, 1]])}, "positive and ascending"),
        ({"looks": Looks(np.array([], int), LOOKS.counts[:, :0])}, "positive and ascending"),
        ({"looks": Looks(np.array([40, 90]), LOOKS.counts)}, "between two looks"),
        ({"looks": Looks(LOOKS.draws, changed(LOOKS.counts, (1, 0, 2), 1))}, "at a look don't sum"),
        (
            {"looks": Looks(LOOKS.draws, changed(changed(LOOKS.counts, (1, 0, 1), 16), (1, 0, 0), 24))},
            "falls from one look",
        ),
        (
            {"looks": Looks(LOOKS.draws, changed(changed(LOOKS.counts, (1, 0, 1), -1), (1, 0, 0), 41))},
            "falls from one look",
        ),
        (
            {"looks": Looks(LOOKS.draws, changed(changed(LOOKS.counts, (1, 1, 1), 16), (1, 1, 0), 79))},
            "at the last look aren't",
        ),
        ({"shells": Shells((1.0,), SHELLS.counts)}, "don't fit 1 edges"),
        ({"shells": Shells((1.0, 2.0), SHELLS.counts.astype(float))}, "not a whole number"),
        (
            {"shells": Shells((1.0, 2.0), changed(changed(SHELLS.counts, (1, 0, 1), -1), (1, 1, 1), 10))},
            "is negative",
        ),
        ({"shells": Shells((1.0, 2.0), changed(SHELLS.counts, (1, 2, 2), 1))}, "don't sum to the counts"),
        ({"shells": Shells((2.0, 2.0), SHELLS.counts)}, "ascending"),
        ({"shells": Shells((0.0, 2.0), SHELLS.counts)}, "ascending"),
        ({"shells": Shells((1.0, np.inf), SHELLS.counts)}, "ascending"),
        ({"disagreements": COUNTS[:, :2], "compared": 100}, "don't fit counts"),
        ({"disagreements": COUNTS * 0.0, "compared": 100}, "don't fit counts"),
        ({"disagreements": changed(COUNTS * 0, (1, 0), -1), "compared": 100}, "not those of 100 draws"),
        ({"disagreements": changed(COUNTS * 0, (1, 0), 101), "compared": 100}, "not those of 100 draws"),
        ({"gradient_sums": GradientSums((60, 40), HALVES.misses[:1], HALVES.products)}, "don't fit 2 images"),
        (
            {"gradient_sums": GradientSums((60, 40), HALVES.misses, HALVES.products[:, :2])},
            "don't fit 2 images",
        ),
        ({"gradient_sums": GradientSums((60, 41), HALVES.misses, HALVES.products)}, "don't sum to n"),
        (
            {"n": np.array([100, 99]), "counts": changed(COUNTS, (1, 2), 4), "gradient_sums": HALVES},
            "don't sum to n",
        ),
        ({"gradient_sums": GradientSums((101, -1), HALVES.misses, HALVES.products)}, "don't sum to n"),
        (
            {"gradient_sums": GradientSums((60, 40), np.array([[7, 3], [21, -1]]), HALVES.products)},
            "outside the selected",
        ),
        ({"gradient_sums": GradientSums((19, 81), HALVES.misses, HALVES.products)}, "outside the selected"),
        (
            {"gradient_sums": GradientSums((60, 40), changed(HALVES.misses, (1, 0), 19), HALVES.products)},
            "outside the selected",
        ),
        (
            {"gradient_sums": GradientSums((60, 40), HALVES.misses, changed(HALVES.products, (1, 2), 1.0))},
            "contradict",
        ),
        (
            {
                "gradient_sums": GradientSums(
                    (60, 40), HALVES.misses, HALVES.products * [[-1, 1, -1], [1, 1, 1]]
                )
            },
            "contradict",
        ),
        (
            {"gradient_sums": GradientSums((60, 40), HALVES.misses, changed(HALVES.products, (0, 1), 6.4))},
            "contradict",
        ),
        (
            {"gradient_sums": GradientSums((60, 40), HALVES.misses, changed(HALVES.products, (0, 1), -6.4))},
            "contradict",
        ),
        (
            {"gradient_sums": GradientSums((60, 40), HALVES.misses, changed(HALVES.products, (0, 0), -5.0))},
            "contradict",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")  # the width of a shell from infinity to infinity
def test_a_table_that_contradicts_itself_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        replace(GOOD, **changes)  # type: ignore[arg-type]


def test_sums_in_old_tables_were_rounded_to_the_quantum_that_is_paid_for_today() -> None:
    assert QUANTUM == 2.0**-24


def test_what_may_just_be_is_a_table() -> None:
    """The ends of what is allowed, or a check that refuses everything would do."""
    parallel = np.array([[5.0, 10.0 * (1 + 1e-10), 20.0], [9.0, 0.0, 0.0]])
    for changes in (
        {"looks": LOOKS, "shells": SHELLS, "gradient_sums": HALVES, "disagreements": COUNTS, "compared": 100},
        {"looks": Looks(np.array([1, 100]), np.stack([COUNTS * 0 + [1, 0, 0], COUNTS], axis=1))},
        {"looks": Looks(np.array([99, 100]), np.stack([COUNTS - [1, 0, 0], COUNTS], axis=1))},
        {"shells": Shells((1e-9, 2.0), SHELLS.counts)},
        {"selection": "clean", "selection_counts": np.array([[1, 0, 0], [1, 0, 0]])},
        {"gradient_sums": GradientSums((20, 80), HALVES.misses, HALVES.products)},
        {"gradient_sums": GradientSums((100, 0), np.array([[10, 0], [20, 0]]), HALVES.products * [1, 0, 0])},
        {"gradient_sums": GradientSums((60, 40), HALVES.misses, parallel)},
        {"exponent": 1, "noise": "generalised-gaussian"},
    ):
        replace(GOOD, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_an_alpha_outside_its_range_is_refused_by_every_certificate(alpha: float) -> None:
    for certificate in certificates().values():
        with pytest.raises(RefusedError, match=r"\(0, 1\)"):
            certificate.certify(GOOD, alpha)


def test_only_full_counts_are_at_the_cap_of_any_certificate() -> None:
    counts = np.array([[1000, 0, 0, 0, 0, 0], [999, 1, 0, 0, 0, 0], [0, 1000, 0, 0, 0, 0]])
    plain = CountTable(
        np.tile([100, 0, 0, 0, 0, 0], (3, 1)), counts, np.full(3, 1000), 0.5, 64, label=np.zeros(3, int),
        disagreements=0 * counts, compared=1000,
        gradient_sums=GradientSums((500, 500), np.array([[0, 0], [1, 0], [500, 500]]), np.array([[0, 0, 0], [64, 0, 0], [3e4] * 3])),
    )  # fmt: skip
    clean = replace(
        plain, selection="clean", selection_counts=plain.selection_counts // 100, gradient_sums=None
    )
    tables = [plain, clean, replace(plain, noise="uniform"), replace(plain, noise="laplace")]
    tables.append(
        replace(plain, stopping="certify-at-radii", looks=Looks(np.array([1000]), counts[:, None, :]))
    )
    seen = set()
    for name, certificate in certificates().items():
        # One takes the most frequent class; the quadrature of the others is costly, and `test_dsrs` has it.
        if name == "l-bound" or name.startswith(("dsrs", "neyman")):
            continue
        for table in tables:
            try:
                certified = certificate.certify(table, 0.001)
            except RefusedError:
                continue
            seen.add(name)
            assert certified.at_cap.tolist() == [True, False, False], name
            assert certified.predicted.tolist() == [0, 0, -1], name
            assert certified.radius[0] > certified.radius[1] > certified.radius[2] == 0, name
    assert seen >= {
        "cohen", "runner-up", "t-certify", "transfer", "second-order", "top-3", "single-pass",
        "sequential", "cohen-linf", "uniform-l1", "uniform-linf", "laplace-l1",
    }  # fmt: skip


def test_noise_that_nothing_is_proved_for_is_refused_by_every_certificate() -> None:
    for certificate in certificates().values():
        with pytest.raises(RefusedError, match="noise; this table has 'cauchy'"):
            certificate.certify(replace(GOOD, noise="cauchy"), 0.001)


def test_an_unknown_certificate_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"Did you mean 'cohen'.*Allowed: "):
        find_certificate("cohne")


def test_a_table_without_images_is_certified_to_nothing() -> None:
    empty = CountTable(np.zeros((0, 1), np.int32), np.zeros((0, 1), np.int32), np.zeros(0, np.int64), 0.25, 0)
    assert len(find_certificate("cohen").certify(empty, 0.001).radius) == 0


def test_the_label_states_level_and_classifier_and_never_more_than_is_proved() -> None:
    g = Guarantee("probabilistic", "g")
    assert g.label(0.001) == "probabilistic 0.999 per image, of g"
    assert g.label(1e-12) == "probabilistic 0.999999999999 per image, of g"
    assert g.label(0.1) == "probabilistic 0.9 per image, of g"
    doubled = Guarantee("probabilistic", "g", times_alpha=2, remark="seen so far: 1 - alpha")
    assert doubled.label(0.001) == "probabilistic 0.998 per image, of g (seen so far: 1 - alpha)"
    assert doubled.label(0.9) == "probabilistic 0 per image, of g (seen so far: 1 - alpha)"
    assert Guarantee("heuristic", "v").label(0.001) == "heuristic, no guarantee, of v"
    assert Guarantee("deterministic", "f").label(0.001) == "deterministic, of f"


def test_certificates_of_a_plugin_appear_when_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "my_certificates.py"
    package.write_text(
        "from rsctl.certificates.cohen import Cohen\nclass Mine(Cohen):\n    name = 'mine'\nCERTIFICATES = (Mine(),)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "mine" not in certificates()
    use_plugins(["my_certificates"])
    try:
        assert "mine" in certificates()
    finally:
        use_plugins([])
        sys.modules.pop("my_certificates", None)
    assert "mine" not in certificates()


def test_fractions_are_never_dropped_as_if_they_were_counts() -> None:
    assert counts_of(np.array([1, 0]), COUNTS).tolist() == [10, 80]
    with pytest.raises(TypeError, match=r"whole numbers, not float64.*take_along_axis"):
        counts_of(np.array([1, 0]), COUNTS / 3)
