"""A published checkpoint as the model of a run: certified, attacked, started from, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from chain import Chain, tiny
from torch import nn

from jobs import examine_checkpoint
from jobs.certify import predict
from jobs.data import load
from jobs.models import build_model
from jobs.models.load import load_trained
from rsctl.catalog import find, known_datasets
from rsctl.config.validate import Invalid
from rsctl.errors import InputError, RefusedError
from rsctl.store.tables import read_table


def trained(folder: Path, *, shift: float = 0.0, layout: str = "macer") -> Path:
    """A file as others publish it: a small network that saw digits minus `shift`."""
    dataset = find("data set", "digits", known_datasets())
    train = load("digits", {}, "train", folder)
    torch.manual_seed(0)
    model = build_model("cnn", {"width": 4}, dataset=dataset, shape=train.shape)[1]
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    pixels, labels = train.batch(torch.arange(len(train)))
    for _ in range(100):
        rows = torch.randint(len(train), (128,))
        noisy = pixels[rows] / 255 + 0.25 * torch.randn(128, 1, 8, 8)
        loss = nn.functional.cross_entropy(model(noisy - shift), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    state = model.state_dict()
    file = folder / "best.pth.tar"
    torch.save(
        {"net": state, "epoch": 3}
        if layout == "macer"
        else {"arch": "cnn", "state_dict": {f"1.module.{key}": value for key, value in state.items()}},
        file,
    )
    return file


def sweep(file: Path, **changes: Any) -> dict[str, Any]:
    method = {"name": "checkpoint", "file": str(file), "normalisation": "none", **changes.pop("method", {})}
    return {
        key: value for key, value in tiny(method=method, sigma=0.25, **changes).items() if key != "training"
    }


def test_a_file_becomes_a_model_with_everything_a_model_has(chain: Chain) -> None:
    file = trained(chain.folder)
    values = sweep(file, attack={"attack": "ddn", "steps": 5, "norm": "l2", "max_images": 5})
    committed = chain.plan(values)
    file.unlink()  # it was copied at submission
    for request in committed.requests:
        chain.run(request.task)
    (model,) = chain.store.runs("models")
    assert model.model_file.exists()
    assert not model.published_file.exists()
    table = read_table(chain.counts_run())
    assert len(table.rows) == 20
    right = (table.rows.counts.argmax(axis=1) == table.rows.label).mean()
    assert right > 0.7
    shown = chain.cli("export", "tiny", "--format", "json")
    assert shown.code == 0
    assert {row["method"] for row in json.loads(shown.out)["rows"]} == {"checkpoint"}
    assert chain.cli("status").code == 0
    plan = chain.cli("check", chain.file(sweep(trained(chain.folder)), "again.toml"))
    assert "from " in plan.out
    assert "epochs" not in plan.out


def test_the_same_file_is_the_same_model_wherever_it_lies(chain: Chain) -> None:
    file = trained(chain.folder)
    chain.plan(sweep(file))
    other = chain.folder / "elsewhere.pt"
    other.write_bytes(file.read_bytes())
    first = chain.counts_run().id
    chain.plan({**sweep(other, seed=5), "name": "second"})
    assert chain.counts_run().id == first
    other.write_bytes(file.read_bytes() + b"0")
    chain.plan({**sweep(other), "name": "third"})
    assert len(list(chain.store.runs("models"))) == 2
    with pytest.raises(Invalid, match=r"method.sha256: .* Use the right file, or correct the hash"):
        chain.plan(sweep(other, method={"sha256": "0" * 64}))
    other.unlink()
    with pytest.raises(Invalid, match=r"method.file: .*elsewhere.pt can't be read"):
        chain.plan(sweep(other))
    with pytest.raises(Invalid, match=r"method\.file: is required"):
        chain.plan(sweep(file, method={"file": ""}))


def test_a_model_that_classifies_nothing_is_refused_before_anything_is_sampled(chain: Chain) -> None:
    values = sweep(trained(chain.folder, shift=30.0, layout="cohen"))
    (model, *_) = chain.plan(values).requests
    with pytest.raises(RefusedError, match="at least 28%"):
        chain.run(model.task)
    assert not model.task.run.model_file.exists()
    values["method"]["anyway"] = True
    for request in chain.plan({**values, "name": "anyway"}).requests:
        chain.run(request.task)


def test_a_stored_normalisation_is_used_and_no_sweep_file_may_contradict_it(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    net = torch.load(trained(chain.folder, shift=3.0), weights_only=True)["net"]
    file = chain.folder / "robust.pt"
    # As for images in [0, 255], whose mean is 3: what the network saw.
    kept = {
        "module.normalizer.new_mean": torch.tensor([765.0]),
        "module.normalizer.new_std": torch.tensor([255.0]),
    }
    torch.save(
        {
            "model": {**kept, **{f"module.model.{k}": v for k, v in net.items()}},
            "ema": {},
            "extra": torch.rand(2),
        },
        file,
    )
    values = sweep(file, method={"file": str(file)})
    del values["method"]["normalisation"]
    committed = chain.plan(values)
    for request in committed.requests:
        chain.run(request.task)
    (run,) = chain.store.runs("models")
    record = json.loads((run.path / "taken.json").read_text())
    assert (record["part"], record["left"], record["normalisation"]) == (
        "model.module.model",
        ["extra"],
        "3.0/1.0",
    )
    model, _ = load_trained(run.model_file, run.spec.hash, load("digits", {}, "test", chain.folder).shape)
    assert model[0].values() == ([3.0], [1.0])
    table = read_table(chain.counts_run())
    assert (table.rows.counts.argmax(axis=1) == table.rows.label).mean() > 0.7
    stated = {**values, "name": "stated", "method": {**values["method"], "normalisation": "dataset"}}
    with pytest.raises(
        InputError,
        match=r"'dataset', but the checkpoint stores another, 3.0/1.0.* Leave it out, or set method.anyway",
    ):
        chain.plan(stated)
    chain.plan({**values, "name": "left-out"})
    chain.plan({**stated, "name": "anyway", "method": {**stated["method"], "anyway": True}})
    asked = [str(file), "--dataset", "digits", "--data", str(chain.place.data), "--sigma", "0.25"]
    assert examine_checkpoint.main(asked) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["normalisation"], found["told"]) == ("3.0/1.0", ["not used: extra"])
    assert examine_checkpoint.main([*asked, "--normalisation", "none"]) == 2
    assert (
        "'none' was requested, but the file stores another beside its network: 3.0/1.0"
        in capsys.readouterr().err
    )
    assert examine_checkpoint.main([*asked, "--normalisation", "3/1"]) == 0


def test_one_model_needs_no_sweep_file(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    file = trained(chain.folder)
    common = (file, "--dataset", "digits", "--sigma", "0.25")
    counted = chain.cli(
        "certify", *common, "--n", "100", "--n0", "10", "--max-images", "8", "--tile", "100",
        "--json", "--normalisation", "none",
    )  # fmt: skip
    assert counted.code == 0, counted.err
    assert "{net, epoch} with keys without a prefix: cnn width 4" in counted.err
    assert "normalisation 'none': as requested" in counted.err
    (row,) = {(row["run"], row["images"]) for row in json.loads(counted.out)["rows"]}
    assert row[1] == 8
    said = chain.cli(
        "predict",
        *common,
        "--images", "0,5", "--n", "400", "--json", "--normalisation", "none", "--tile", "200",
    )  # fmt: skip
    assert said.code == 0, said.err
    table = read_table(chain.counts_run())
    asked = [
        str(file), "--dataset", "digits", "--data", str(chain.place.data), "--sigma", "0.25", "--normalisation", "none",
        "--images", "[0, 5]", "--n", "400", "--tile", "200", "--arithmetic", "exact",
    ]  # fmt: skip
    assert predict.main([*asked, "--alpha", "0.001"]) == 0
    exact, votes = json.loads(capsys.readouterr().out)["rows"], json.loads(said.out)["rows"]
    assert [image["predicted"] for image in exact] == [image["predicted"] for image in votes]
    assert [image["votes"] for image in exact] != [image["votes"] for image in votes]
    # The draws that certified an image don't say of it again what the smoothed classifier returns.
    same = [
        "--images",
        json.dumps(table.rows.index.tolist()),
        "--n",
        "100",
        "--arithmetic",
        "float",
        "--alpha",
        "0.001",
    ]
    assert predict.main([*asked, *same]) == 0
    again = [image["votes"] for image in json.loads(capsys.readouterr().out)["rows"]]
    assert again != table.rows.counts.max(axis=1).tolist()
    assert json.loads(said.out)["notes"] == []
    assert predict.main([*asked, "--n", "10", "--alpha", "0.001"]) == 0
    few = json.loads(capsys.readouterr().out)
    assert "n = 11 could" in few["notes"][0]
    assert [image["predicted"] for image in few["rows"]] == [-1, -1]
    assert predict.main([*asked, "--alpha", "1e-13"]) == 2
    assert "may depart from the Gaussian law" in capsys.readouterr().err
    for image in votes:
        assert image["votes"] > 200
        assert image["predicted"] == image["label"]
    assert table.counts().sigma == 0.25


@pytest.mark.long
def test_wrong_words_about_a_file_are_refused(chain: Chain) -> None:
    """Each refusal comes from a process that has loaded torch."""
    common = (trained(chain.folder), "--dataset", "digits", "--sigma", "0.25")
    for arguments, code, words in (
        (("certify", *common, "--arch", "resnet20"), 2, "the weights aren't those of resnet20"),
        (("certify", *common, "--normalisation", "center"), 2, "Did you mean 'centre'"),
        (
            ("predict", *common, "--images", "0,360", "--normalisation", "none"),
            2,
            "360 isn't a position in the test split (0 to 359)",
        ),
        (("predict", *common, "--images", "first"), 2, "is not a list of positions"),
    ):
        refused = chain.cli(*arguments)
        assert refused.code == code, refused.err
        assert words in refused.err


def test_weights_of_another_architecture_are_refused(chain: Chain) -> None:
    values = sweep(trained(chain.folder), model={"name": "resnet20"})
    (model, *_) = chain.plan({**values, "model": "resnet20"}).requests
    with pytest.raises(InputError, match=r"the weights aren't those of resnet20: .* are missing"):
        chain.run(model.task)


def test_a_training_starts_from_a_file_and_goes_on_seeing_images_as_it_did(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights trained without normalisation would be spoilt by a normalisation that they have never seen."""
    import dataclasses

    import rsctl.catalog
    from rsctl.catalog import datasets

    digits = find("data set", "digits", known_datasets())
    other = dataclasses.replace(digits, mean=(0.5,), std=(0.05,))
    monkeypatch.setattr(datasets, "DATASETS", [other])
    rsctl.catalog.use_plugins(())
    file = trained(chain.folder)
    for start in ({"checkpoint": str(file)}, {"name": "checkpoint", "file": str(file)}):
        values = tiny(
            method={"name": "gaussian", "start": {**start, "normalisation": "none"}},
            sigma=0.25,
            training={"epochs": 1, "lr": 1e-8},
        )
        committed = chain.plan(values, update=True)
    assert len(list(chain.store.runs("models"))) == 2
    for request in committed.requests[:2]:
        chain.run(request.task)
    for run in chain.store.runs("models"):
        model, _ = load_trained(run.model_file, run.spec.hash, load("digits", {}, "test", chain.folder).shape)
        assert model[0].values() == ([0.0], [1.0])
        images = load("digits", {}, "test", chain.folder)
        pixels, labels = images.batch(torch.arange(100))
        assert (model(pixels / 255).argmax(dim=1) == labels).float().mean() > 0.8
    monkeypatch.undo()
    rsctl.catalog.use_plugins(())
