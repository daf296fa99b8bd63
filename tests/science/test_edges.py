"""Every certificate at the ends of what it can be given: it refuses, or its radii are numbers that make sense."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

from rsctl.certificates import Certificate, CountTable, Looks, Shells, certificates
from rsctl.certificates.stopping import make_rule
from rsctl.errors import RefusedError

ALPHAS = (1e-300, 1e-12, 0.001, 0.5, 1 - 1e-12)
NOISES = ("gaussian", "uniform", "laplace", "generalised-gaussian")
D, EXPONENT = 64, 20


def sensible(certificate: Certificate, table: CountTable, alpha: float) -> bool:
    """Certify with warnings as errors; False where it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            certified = certificate.certify(table, alpha)
        except RefusedError:
            return False
    assert np.isfinite(certified.radius).all()
    assert (certified.radius >= 0).all()
    assert ((certified.predicted >= 0) == (certified.radius > 0)).all()
    assert (certified.predicted < table.counts.shape[1]).all()
    assert not (certified.at_cap & (certified.predicted < 0)).any()
    return True


def drawn(classes: int, n: int, n0: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Selection, counts and labels of 12 images: certain ones, ties, none of the chosen class, and mixtures."""
    rng = np.random.default_rng(classes + n)
    p = rng.dirichlet(np.full(classes, 0.3), 12)
    p[:2] = np.eye(classes)[[0, classes - 1]]
    counts = np.stack([rng.multinomial(n, row) for row in p])
    selection = np.stack([rng.multinomial(n0, row) for row in p])
    if classes > 1:
        counts[2:4] = 0
        counts[2:4, 0], counts[2:4, 1] = n // 2, n - n // 2
        selection[4], counts[4] = n0 * np.eye(classes, dtype=int)[0], n * np.eye(classes, dtype=int)[1]
    return selection, counts, rng.integers(0, classes, 12)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("selection", ["noise", "clean"])
def test_tables_of_a_fixed_n(noise: str, selection: str) -> None:
    taken = set()
    for classes, n in itertools.product((1, 2, 10, 1000), (1, 2, 1000, 2**31 - 1)):
        chosen, counts, label = drawn(classes, n, 1 if selection == "clean" else 100)
        by_shell = np.stack([counts // 2, counts - counts // 2], axis=1)
        table = CountTable(
            chosen, counts, counts.sum(axis=1), 0.25, D, noise, label=label, selection=selection,
            exponent=EXPONENT if noise == "generalised-gaussian" else 0,
            shells=Shells((2.0,), by_shell) if "gaussian" in noise else None,
        )  # fmt: skip
        for name, certificate in certificates().items():
            # The costly ones, and the norms that are a factor, once.
            slow = name.startswith(("dsrs", "neyman")) or (
                name.endswith(("-l1", "-linf")) and "gaussian" in noise
            )
            if slow and (classes, n) != (2, 2):
                continue
            for alpha in ALPHAS[2:3] if slow else ALPHAS:
                if sensible(certificate, table, alpha):
                    taken.add(name)
    assert ("single-pass" in taken) == (selection == "clean" and noise == "gaussian")
    assert ("cohen" in taken) == (noise == "gaussian")
    assert ("dsrs" in taken) == ("gaussian" in noise)
    assert ("laplace-l1" in taken) == (noise == "laplace")


@pytest.mark.parametrize("stopping", ["certify-at-radii", "radius-within"])
def test_tables_that_stopped_at_any_look(stopping: str) -> None:
    rng = np.random.default_rng(0)
    for n, block in itertools.product((1, 50, 100_000), (1, 100)):
        rule = make_rule(stopping, radii=[0.0, 0.5], delta=0.02, sigma=0.5, alpha=0.001, n=n, block=block)
        assert rule is not None
        p = rng.dirichlet(np.full(3, 0.3), 30)
        p[0] = [1, 0, 0]
        steps = np.diff(rule.draws, prepend=0)
        at_looks = np.cumsum([[rng.multinomial(step, row) for step in steps] for row in p], axis=1)
        last = rng.integers(0, len(steps), 30)
        at_looks[np.arange(len(steps))[None, :] > last[:, None]] = 0
        counts = at_looks.max(axis=1)
        table = CountTable(
            np.eye(3, dtype=int)[p.argmax(axis=1)], counts, rule.draws[last], 0.5, D, "gaussian", stopping,
            looks=Looks(rule.draws, at_looks), label=np.zeros(30, int),
        )  # fmt: skip
        for name, certificate in certificates().items():
            for alpha in ALPHAS:
                assert sensible(certificate, table, alpha) == name.startswith("sequential")


def test_tables_without_images() -> None:
    none = np.zeros((0, 10), int)
    table = CountTable(none, none, np.zeros(0, int), 0.5, D, label=np.zeros(0, int))
    assert sensible(certificates()["cohen"], table, 0.001)
    for certificate in certificates().values():
        sensible(certificate, table, 0.001)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, float("nan"), 2.0])
def test_an_alpha_that_is_none_is_refused_by_all(alpha: float) -> None:
    counts = np.array([[90, 10]])
    table = CountTable(counts, counts, np.array([100]), 0.5, D, label=np.array([0]))
    for name, certificate in certificates().items():
        if name != "l-bound":  # it has no use for one
            assert not sensible(certificate, table, alpha)
