"""From a sweep file to a table where the class comes from a clean pass, or the noise isn't Gaussian."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from chain import Chain, tiny
from samplers import sampler_of

from jobs.certify.sampler import ImageCounts
from rsctl.certificates import find_certificate
from rsctl.config.runs import CountSpec
from rsctl.errors import InputError
from rsctl.store.tables import read_table


def test_single_pass_from_a_sweep_file(chain: Chain) -> None:
    """The class is that of the image itself; certificates that need no noisy selection take the table too."""
    committed = chain.run_all(
        tiny(
            certification={
                "selection": "clean",
                "n0": 77,
                "certificates": ["single-pass", "cohen", "runner-up"],
            }
        )
    )
    run = chain.counts_run()
    table = read_table(run)
    assert (table.rows.selection_counts.sum(axis=1) == 1).all()
    assert (table.rows.n == 200).all()
    counts = table.counts()
    assert counts.selection == "clean"
    single_pass = find_certificate("single-pass").certify(counts, 0.001)
    cohen = find_certificate("cohen").certify(counts, 0.001)
    np.testing.assert_array_equal(single_pass.radius, cohen.radius)
    assert (single_pass.predicted >= 0).any()

    # The same class as one pass of the model gives, computed here without the sampler.
    from jobs.data import load
    from jobs.models.load import load_trained

    train = committed.requests[0].task.run
    images = load("digits", {}, "test", chain.place.data, positions=table.rows.index.tolist())
    model, _ = load_trained(train.model_file, train.train_spec.hash, images.shape)
    pixels, _ = images.batch(torch.arange(len(images)))
    with torch.inference_mode():
        logits = model(pixels.float() / 255)
    np.testing.assert_array_equal(counts.selection_counts.argmax(axis=1), logits.argmax(dim=1).numpy())

    exported = chain.cli("export", "tiny", "--format", "csv")
    assert exported.code == 0
    assert "g_v, the model v smoothed once more" in exported.out


def test_a_clean_pass_is_one_draw_whatever_n0_and_the_tile(chain: Chain) -> None:
    """The network sees the image itself in selection, and never in estimation."""
    seen: list[torch.Tensor] = []

    class Watch(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.clone())
            return torch.zeros(len(x), 2)

    pixels = torch.rand(1, 4, 4)
    sampler = sampler_of(
        Watch(),
        2,
        sigma=0.5,
        key=(0,),
        n0=1,
        n=60,
        tile=60,
        block=20,
        device=torch.device("cpu"),
        clean_selection=True,
    )
    images = [ImageCounts(0, 0, pixels, torch.zeros(2, 2, dtype=torch.int64))]
    finished = [image for touched in sampler.run(images) for image in touched if image.done]
    assert finished[0].counts.sum(dim=1).tolist() == [1, 60]
    rows = torch.cat(seen)
    clean = (rows == pixels).flatten(1).all(dim=1)
    assert clean[:20].all()
    assert not clean[20:80].any()


@pytest.mark.parametrize(
    ("noise", "names"), [("uniform", ["uniform-l1", "uniform-linf"]), ("laplace", ["laplace-l1"])]
)
def test_other_noises_from_a_sweep_file(
    chain: Chain, noise: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs import state

    trained_with: set[str] = set()
    drawn = state.smoothing_noise

    def watch(
        shape: tuple[int, ...], sigma: float, exponent: int, key: torch.Generator, law: str
    ) -> torch.Tensor:
        trained_with.add(law)
        return drawn(shape, sigma, exponent, key, law)

    monkeypatch.setattr(state, "smoothing_noise", watch)
    committed = chain.run_all(
        tiny(
            noise=noise, sigma=0.2, training={"epochs": 8}, certification={"certificates": names, "shards": 1}
        )
    )
    train, run = committed.requests[0].task.run, chain.counts_run()
    assert train.train_spec.noise == run.count_spec.noise == noise
    assert trained_with == {noise}
    gaussian = chain.plan(tiny(name="other"))
    assert gaussian.requests[0].task.run.id != train.id
    table = read_table(run)
    for name in names:
        certified = find_certificate(name).certify(table.counts(), 0.001)
        assert (certified.predicted == table.rows.label).mean() > 0.3
    exported = chain.cli("export", "tiny", "--format", "csv")
    assert exported.code == 0
    assert f"{noise},0" in exported.out or f",{noise}," in exported.out
    refused = chain.cli("export", "tiny", "--certificate", "cohen")
    assert refused.code == 2
    assert f"Use '{names[0]}'" in refused.err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": "uniform"}, "runner-up is proved for gaussian noise"),
        ({"noise": "uniform", "exponent": 4}, "exponent"),
        ({"noise": "laplace", "certification": {"shells": [0.5], "certificates": ["laplace-l1"]}}, "shells"),
        ({"noise": "cauchy"}, "laplace"),
        ({"certification": {"certificates": ["single-pass"]}}, "unperturbed"),
        ({"certification": {"certificates": ["uniform-l1"]}}, "Use 'runner-up'"),
        ({"certification": {"selection": "guess"}}, "clean"),
        (
            {
                "noise": "laplace",
                "certification": {"stopping": "radius-within", "certificates": ["sequential"]},
            },
            "proved for gaussian noise",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_runs(
    chain: Chain, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        chain.plan(tiny(**changes))


def test_neutral_values_change_no_identity() -> None:
    """Runs from before these fields keep their names."""
    common = {
        "model_hash": "m", "model_run": "r", "dataset": "digits", "dataset_parameters": {}, "split": "test", "sigma": 0.5,
        "seed": 0, "n0": 50, "n": 200, "precision": "fp32", "tile": 100, "block": 50,
    }  # fmt: skip
    plain = CountSpec(**common)
    assert plain.hash == CountSpec(**common, selection="noise", noise="gaussian").hash
    assert (
        len(
            {
                plain.hash,
                CountSpec(**common, selection="clean").hash,
                CountSpec(**common, noise="uniform").hash,
            }
        )
        == 3
    )
