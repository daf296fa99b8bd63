"""Two normalisations with which a published network does nearly as well: more images tell, or the user does."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chain import Chain, tiny
from test_published import CPU, dataset, digits, read_from

from jobs import published
from jobs.data import Images, load
from jobs.models.contest import LEVEL, LOOKS, compare, contest
from jobs.models.judge import judge
from jobs.published import some_images
from rsctl.errors import RefusedError
from rsctl.spec.sweep import load_sweep


def answers(won: int, lost: int, both: int, neither: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Images that ours gets right alone, that theirs does, that both do, and that none does."""
    ours = torch.tensor([1] * won + [0] * lost + [1] * both + [0] * neither, dtype=torch.bool)
    theirs = torch.tensor([0] * won + [1] * lost + [1] * both + [0] * neither, dtype=torch.bool)
    return ours, theirs


@pytest.mark.parametrize(
    ("won", "lost", "images", "verdict"),
    [
        (10, 0, 400, "better"),  # 2 · 2^-10 is below 1 % shared by four looks, 2 · 2^-9 isn't
        (0, 10, 400, "worse"),
        (9, 0, 400, "open"),
        (32, 16, 400, "open"),  # 60.6 against 56.7 %, of 400: p = .029
        (64, 32, 800, "better"),  # p = .0014
        (32, 64, 800, "worse"),
        (0, 0, 400, "alike"),
        (0, 0, 100, "open"),  # a hundred that agree are few
        (20, 20, 400, "open"),
        (80, 80, 3200, "alike"),
        (60, 130, 40_000, "alike"),  # certain, and of no account
    ],
)
def test_images_that_one_gets_right_alone_tell(won: int, lost: int, images: int, verdict: str) -> None:
    assert compare(*answers(won, lost, images - won - lost)) == verdict
    assert compare(*answers(won, lost, 0, images - won - lost)) == verdict  # those of both say nothing


def test_equally_good_ones_are_told_apart_as_seldom_as_is_said() -> None:
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(1000):
        right = torch.from_numpy(rng.random((2, 400 * 2 ** (LOOKS - 1))) < 0.8)
        ends = [0, 400, 800, 1600, 3200]
        pairs = ((right[0, a:b], right[1, a:b]) for a, b in itertools.pairwise(ends))
        wrong += contest(pairs).verdict in ("better", "worse")
    assert wrong <= 1000 * LEVEL


def test_a_contest_ends_where_it_is_decided_or_there_are_no_more_images() -> None:
    def pairs(*lots: tuple[torch.Tensor, torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield from lots

    few = answers(16, 8, 76)
    assert contest(pairs(few)).verdict == "open"
    decided = contest(pairs(few, answers(16, 8, 76), answers(40, 10, 150), answers(0, 200, 0)))
    assert (decided.verdict, decided.images) == ("better", 400)
    assert decided.ours == pytest.approx(374 / 400)
    assert decided.theirs == pytest.approx(328 / 400)


def judged(chosen: str, std: float, **changes: Any) -> Any:
    """The network of digits shown images less 2, of which 'dataset' divides by `std`, which it wasn't trained with."""
    images, state = digits()
    weights = read_from({"net": state})
    declared = replace(dataset("digits"), mean=(2.0,), std=(std,))
    return judge(weights, "cnn", {"width": 4}, chosen, declared, images, 0.0, CPU, **changes)


@pytest.fixture(scope="module")
def training() -> Images:
    return load("digits", {}, "train", Path("/nowhere"))


def test_more_images_decide(training: Images) -> None:
    with pytest.raises(RefusedError, match="too near for these images to tell"):
        judged("centre", 4.0)
    assert "dataset" not in " ".join(judged("centre", 4.0, more=[training]).told)
    with pytest.raises(
        RefusedError, match=r"of 1,797 clean images correctly, with 'centre' 9.*, which is no accident"
    ):
        judged("dataset", 4.0, more=[training])
    judged("dataset", 4.0, more=[training], anyway=True)


def test_what_the_first_images_tell_needs_no_more() -> None:
    def none() -> Iterator[Images]:
        raise AssertionError("asked for")
        yield

    judged("centre", 6.0, more=none())
    with pytest.raises(
        RefusedError, match=r"of 360 clean images correctly, with 'centre' 90\.8%, which is no accident"
    ):
        judged(
            "dataset", 5.0, more=none()
        )  # 84.7 against 90.8 %: three standard errors of one accuracy are 7.9 %
    with pytest.raises(AssertionError, match="asked for"):
        judged("centre", 4.0, more=none())


def test_where_no_images_tell_it_asks_with_both_accuracies_and_the_option() -> None:
    with pytest.raises(
        RefusedError,
        match=r"'dataset' this cnn classifies 88\.1% of 360 clean images correctly, with 'centre' 90\.8%: too near .*McNemar.*"
        r"--normalisation dataset or --normalisation centre \(in a sweep file method\.normalisation\)",
    ):
        judged("dataset", 4.0)
    assert judged("dataset", 4.0, stated=True).told == []
    assert judged("dataset", 4.0, anyway=True).told == []


def test_one_that_does_as_well_is_named(training: Images) -> None:
    (said,) = judged("centre", 2.0, more=[training]).told
    assert said.startswith("with 'dataset' it classifies alike: 92")
    assert said.endswith("of 1,797 clean images against 92.8% (less than 2% apart)")


def test_further_images_are_the_next_ones_of_the_order_and_then_training_images() -> None:
    lots = list(some_images("digits", {}, Path("/nowhere")))
    assert [len(lot) for lot in lots] == [360, 360, 720, 357]
    assert len({int(position) for lot in lots[1:] for position in lot.positions}) == 1437
    assert torch.equal(
        lots[0].labels,
        load("digits", {}, "test", Path("/nowhere"), positions=lots[0].positions.tolist()).labels,
    )


def sweep_of(chain: Chain, **method: Any) -> Any:
    file = chain.folder / "net.pt"
    torch.save({"net": digits()[1]}, file)
    values = {key: value for key, value in tiny(sigma=0.25).items() if key != "training"}
    return {**values, "method": {"name": "checkpoint", "file": str(file), **method}}


def test_a_sweep_file_that_gives_the_normalisation_is_not_asked(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task is told whether it was given: as the default it is no answer, and as an answer it is the same run."""
    asked = []

    def judge_(*_: Any, stated: bool, **__: Any) -> Any:
        asked.append(stated)
        raise RefusedError("enough")

    monkeypatch.setattr(published, "judge", judge_)
    ids = set()
    for method in ({}, {"normalisation": "dataset"}):
        values = sweep_of(chain, **method)
        (point,) = load_sweep(chain.file(values), chain.place.data).points
        ids.add(point.train.run_id)
        (model, *_) = chain.plan(values, update=True).requests
        with pytest.raises(RefusedError, match="enough"):
            published.take(chain.work(model.task))
    assert asked == [False, True]
    assert len(ids) == 1


def test_a_model_to_start_from_is_asked_about_likewise(chain: Chain) -> None:
    start = {"checkpoint": sweep_of(chain)["method"]["file"]}
    for given, stated in (({}, False), ({"normalisation": "none"}, True)):
        values = tiny(method={"name": "gaussian", "start": {**start, **given}}, sigma=0.25)
        (parent, *_) = chain.plan(values, update=True).requests
        assert parent.task.run.launch()["stated"] is stated
        assert json.loads((parent.task.run.path / "spec.json").read_text())["spec"]["method"] == "checkpoint"
