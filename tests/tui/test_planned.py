"""Titles of runs: what tells them apart, and no more."""

from __future__ import annotations

from chain import Chain, tiny

from rsctl.tui.watch import Watcher


def titles(chain: Chain) -> list[str]:
    (sweep,) = Watcher().poll().sweeps
    return [run.title for run in sweep.runs]


def names(chain: Chain) -> list[str]:
    (sweep,) = Watcher().poll().sweeps
    return [run.name for run in sweep.runs]


def test_a_row_leaves_out_what_all_rows_of_its_sweep_say(chain: Chain) -> None:
    chain.plan(tiny(grid={"sigma": [0.25, 0.5], "seed": [0, 1]}))
    assert names(chain) == ["σ 0.25 · seed 0", "σ 0.25 · seed 1", "σ 0.5 · seed 0", "σ 0.5 · seed 1"]
    assert titles(chain)[0] == "gaussian σ 0.25 · seed 0"


def test_the_row_that_says_no_more_than_all_do_keeps_its_whole_name(chain: Chain) -> None:
    chain.plan(tiny(verification=[{"verifier": "ibp"}, {"verifier": "crown"}]))
    assert names(chain) == ["gaussian σ 0.5", "ibp", "crown"]


def test_verifiers_and_attacks_are_named_and_settings_of_sampling_are_not(chain: Chain) -> None:
    chain.plan(tiny(verification=[{"verifier": "ibp"}, {"verifier": "crown"}], attack={"attack": "ddn"}))
    assert titles(chain) == [
        "gaussian σ 0.5",
        "gaussian · ibp σ 0.5",
        "gaussian · crown σ 0.5",
        "gaussian · ddn σ 0.5",
    ]


def test_runs_of_one_verifier_are_told_apart_by_what_differs(chain: Chain) -> None:
    chain.plan(tiny(verification=[{"verifier": "ibp", "radii": [0.1]}, {"verifier": "ibp", "radii": [0.2]}]))
    assert titles(chain)[1:] == ["gaussian · ibp σ 0.5 · radii [0.1]", "gaussian · ibp σ 0.5 · radii [0.2]"]


def test_an_attack_on_the_network_itself_says_nothing_of_noise(chain: Chain) -> None:
    attack = {"attack": "ddn", "max_images": 2}
    chain.plan(tiny(attack=[attack, {**attack, "target": "smoothed"}], verification={"verifier": "ibp"}))
    assert titles(chain)[1:] == [
        "gaussian · ibp σ 0.5",
        "gaussian · ddn σ 0.5 · target base",
        "gaussian · ddn σ 0.5 · target smoothed · noises 32 · n 1000 · alpha 0.001",
    ]
