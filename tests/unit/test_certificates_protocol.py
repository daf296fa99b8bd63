"""What a count table refuses to be, what every certificate refuses, and the label that goes with a radius."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rsctl.catalog import use_plugins
from rsctl.certificates import CountTable, Guarantee, Halves, Shells, certificates, find_certificate
from rsctl.errors import InputError, RefusedError

GOOD = CountTable(
    np.array([[9, 1, 0]]), np.array([[90, 10, 0]], np.int32), np.array([100]), 0.25, 3072, label=np.array([0])
)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"counts": np.array([[90, 11, 0]])}, "don't sum to n"),
        ({"counts": np.array([[110, -10, 0]])}, "negative"),
        ({"selection_counts": np.array([[11, -1, 0]])}, "negative"),
        ({"counts": np.array([[90.0, 10.0, 0.0]])}, "not whole numbers"),
        ({"counts": np.array([[np.nan, 10.0, 0.0]])}, "not whole numbers"),
        ({"counts": np.array([[90, 10]])}, "must both be"),
        ({"counts": np.array([90, 10, 0])}, "must both be"),
        ({"n": np.array(100)}, "n has shape"),
        ({"label": np.array([0, 1])}, "label has shape"),
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": float("nan")}, "sigma"),
        ({"arithmetic": "exact", "noise": "uniform"}, "exact arithmetic is for Gaussian noise"),
        (
            {"arithmetic": "exact", "shells": Shells((1.0,), np.array([[[90, 10, 0], [0, 0, 0]]]))},
            "without shells",
        ),
        (
            {"arithmetic": "exact", "halves": Halves((50, 50), np.array([[5, 5]]), np.ones((1, 3)))},
            "sums of noise",
        ),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        replace(GOOD, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_an_alpha_outside_its_range_is_refused_by_every_certificate(alpha: float) -> None:
    for certificate in certificates().values():
        with pytest.raises(RefusedError, match=r"\(0, 1\)"):
            certificate.certify(GOOD, alpha)


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
    package.write_text("class Mine:\n    name = 'mine'\nCERTIFICATES = (Mine(),)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "mine" not in certificates()
    use_plugins(["my_certificates"])
    try:
        assert "mine" in certificates()
    finally:
        use_plugins([])
        sys.modules.pop("my_certificates", None)
    assert "mine" not in certificates()
