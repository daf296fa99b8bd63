"""Two normalisations with which a published network does nearly as well: more images tell, or the user does."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chain import Chain, tiny
from test_published import CPU, dataset

from jobs import import_checkpoint
from jobs.checkpoints.contest import LEVEL, LOOKS, compare, contest
from jobs.checkpoints.formats import Held, Weights
from jobs.checkpoints.judge import judge
from jobs.checkpoints.parts import Part
from jobs.data import ArrayImages, Images, load
from jobs.import_checkpoint import some_images
from jobs.models import build_model
from rsctl.config.sweep import load_sweep
from rsctl.errors import RefusedError


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
    for _ in range(300):
        right = torch.from_numpy(rng.random((2, 400 * 2 ** (LOOKS - 1))) < 0.8)
        ends = [0, 400, 800, 1600, 3200]
        pairs = ((right[0, a:b], right[1, a:b]) for a, b in itertools.pairwise(ends))
        wrong += contest(pairs).verdict in ("better", "worse")
    assert wrong <= 300 * LEVEL


def test_a_contest_ends_where_it_is_decided_or_there_are_no_more_images() -> None:
    def pairs(*lots: tuple[torch.Tensor, torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield from lots

    few = answers(16, 8, 76)
    assert contest(pairs(few)).verdict == "open"
    decided = contest(pairs(few, answers(16, 8, 76), answers(40, 10, 150), answers(0, 200, 0)))
    assert (decided.verdict, decided.images) == ("better", 400)
    assert decided.ours == pytest.approx(374 / 400)
    assert decided.theirs == pytest.approx(328 / 400)


Judge = Callable[..., Any]


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Judge:
    """`judge` with given answers: 85 % with 'centre' and `theirs` with 'dataset', in every 20 images; the others' are at chance."""
    images = load("digits", {}, "test", Path("/nowhere"), positions=range(100))
    weights = Weights(
        {}, "", "", "centre", "it always does", "", Part((), "", {}), Held(Path(), "", {}, [], [])
    )

    def ask(chosen: str, won: int, lost: int, lots: Sequence[int] = (400,), **changes: Any) -> Any:
        ours, theirs = (answer.repeat(200) for answer in answers(won, lost, 17 - won, 3 - lost))

        def asked(name: str, images: Any, sigmas: Any, device: Any, begun: int = 0) -> torch.Tensor:
            known = {"centre": ours, "dataset": theirs}.get(name, torch.arange(4000) % 10 == 0)
            return known[begun : begun + len(images)][None]

        monkeypatch.setattr("jobs.checkpoints.judge.answers", asked)
        monkeypatch.setattr("jobs.checkpoints.judge.assemble", lambda *about: about[3])
        first, *more = (replace_length(images, count) for count in lots)
        return judge(
            weights, "cnn", {}, chosen, dataset("digits"), first, 0.0, CPU, **{"more": more, **changes}
        )

    return ask


def replace_length(images: Images, count: int) -> Images:
    """As many of these, over and over: who answers looks at none of them."""
    return ArrayImages(
        images.pixels[:1].expand(count, -1, -1, -1), images.labels[:1].expand(count), images.shape, ""
    )


def test_more_images_decide(judged: Judge) -> None:
    """2 of 20 against 1 of 20: 40 against 20 of 400 have p = .013, 80 against 40 of 800 have .0003."""
    with pytest.raises(RefusedError, match="too close to decide which one it was trained with"):
        judged("centre", 2, 1)
    (said,) = judged("centre", 2, 1, (400, 400)).told
    assert (
        said
        == "with 'dataset' it classifies 80.0% of 800 clean images correctly, against 85.0%: decided by more images"
    )
    with pytest.raises(
        RefusedError,
        match=r"'dataset' this cnn classifies 80\.0% of 800 clean images correctly, with 'centre' 85\.0%, a significant difference"
        r".*--normalisation dataset or --normalisation centre",
    ):
        judged("dataset", 2, 1, (400, 400))
    assert judged("dataset", 2, 1, (400, 400), anyway=True).told == []


def test_what_the_first_images_tell_needs_no_more(judged: Judge) -> None:
    def none() -> Iterator[Images]:
        raise AssertionError("asked for")
        yield

    assert judged("centre", 1, 0, more=none()).told == []
    with pytest.raises(RefusedError, match=r"80\.0% of 400 clean images .*85\.0%, a significant difference"):
        judged("dataset", 1, 0, more=none())
    with pytest.raises(AssertionError, match="asked for"):
        judged("centre", 2, 1, more=none())


def test_where_no_images_tell_it_asks_with_both_accuracies_and_the_option(judged: Judge) -> None:
    with pytest.raises(
        RefusedError,
        match=r"'centre' this cnn classifies 85\.0% of 400 clean images correctly, with 'dataset' 80\.0%: too close .*McNemar's test at 1%.*"
        r"The file's layout suggests 'centre': it always does\. Name the right one: --normalisation centre or --normalisation dataset "
        r"\(in a sweep file method\.normalisation\)",
    ):
        judged("centre", 2, 1)
    assert judged("dataset", 2, 1, stated=True).told == []
    assert judged("dataset", 2, 1, anyway=True).told == []


def test_it_looks_no_more_often_than_its_level_is_for(judged: Judge) -> None:
    with pytest.raises(RefusedError, match=r"of 160 clean images.*too close"):
        judged("centre", 2, 1, (40,) * 9)


def test_one_that_does_as_well_is_named(judged: Judge) -> None:
    assert judged("centre", 0, 0).told == [
        "with 'dataset' it classifies 85.0% of 400 clean images correctly, against 85.0%: equally good (less than 2% apart)"
    ]


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
    torch.manual_seed(0)
    shape = load("digits", {}, "test", Path("/nowhere"), positions=[0]).shape
    torch.save(
        {"net": build_model("cnn", {"width": 4}, dataset=dataset("digits"), shape=shape)[1].state_dict()},
        file,
    )
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

    monkeypatch.setattr(import_checkpoint, "judge", judge_)
    ids = set()
    for method in ({}, {"normalisation": "dataset"}):
        values = sweep_of(chain, **method)
        (point,) = load_sweep(chain.file(values), chain.place.data).points
        ids.add(point.train.run_id)
        (model, *_) = chain.plan(values, update=True).requests
        with pytest.raises(RefusedError, match="enough"):
            import_checkpoint.main(chain.work(model.task))
    assert asked == [False, True]
    assert len(ids) == 1


def test_a_model_to_start_from_is_asked_about_likewise(chain: Chain) -> None:
    start = {"checkpoint": sweep_of(chain)["method"]["file"]}
    for given, stated in (({}, False), ({"normalisation": "none"}, True)):
        values = tiny(method={"name": "gaussian", "start": {**start, **given}}, sigma=0.25)
        (parent, *_) = chain.plan(values, update=True).requests
        assert parent.task.run.launch()["stated"] is stated
        assert json.loads((parent.task.run.path / "spec.json").read_text())["spec"]["method"] == "checkpoint"
