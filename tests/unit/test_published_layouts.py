"""Whatever wraps a published network and whatever lies beside it: the same function, what was left is named, what is no checkpoint too."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import shlex
import subprocess
import sys
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from test_published import CIFAR, dataset, network, prefixed
from torch import Tensor, nn

from jobs.checkpoints.fitting import Fit, fitting, normalisation_for
from jobs.checkpoints.formats import read_weights
from jobs.checkpoints.recognise import assemble
from jobs.models import build_model
from rsctl.errors import InputError

MEAN, STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.25, 0.2, 0.125])
FLAT, IMAGE = (3,), (1, 3, 1, 1)


def fit_of(stored: Any, file: Path, part: str = "") -> Fit:
    torch.save(stored, file)
    return fitting(read_weights(file, part), dataset("cifar10"), CIFAR)


def beside(prefix: str, entries: dict[str, Tensor]) -> OrderedDict[str, Tensor]:
    return OrderedDict({**entries, **prefixed(prefix)})


def pair(mean: str, std: str, shape: tuple[int, ...] = FLAT) -> dict[str, Tensor]:
    return {mean: MEAN.reshape(shape), std: STD.reshape(shape)}


STORED: dict[str, Any] = {
    "rs4a": {"state": 1, "model_state_dict": beside("model.module.", {"norm.module.mu": MEAN.reshape(3, 1, 1), "norm.module.log_sig": STD.log().reshape(3, 1, 1)})},
    "robustbench": {"state_dict": beside("", pair("mu", "sigma", IMAGE))},
    "robustness": {
        "model": {**pair("module.normalizer.new_mean", "module.normalizer.new_std", (3, 1, 1)), **prefixed("module.model."),
                  **pair("module.attacker.normalize.new_mean", "module.attacker.normalize.new_std", (3, 1, 1)), **prefixed("module.attacker.model.")},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}, "epoch": 3, "amp": "N/A",
    },
    "normalize.mean": beside("", pair("normalize.mean", "normalize.std", IMAGE)),
    "0.means": beside("1.", pair("0.means", "0.sds")),
    "buffers in a Sequential": {"state_dict": beside("module.1.", pair("module.0.mean", "module.0.std", IMAGE))},
    "an image for a mean": beside("1.", {"0.mean": MEAN.reshape(3, 1, 1).expand(3, 32, 32).clone(), "0.std": STD}),
    "reciprocals": beside("net.", {"norm.mean": MEAN, "norm.inv_std": 1 / STD}),
    "factors under the name of deviations": beside("1.", {"0.mean": MEAN, "0.std": 1 / STD}),
    "of 255": beside("1.", {"0.mean": 255 * MEAN, "0.std": 255 * STD}),
    "variances": beside("", {"normalize.mean": MEAN, "normalize.var": STD**2}),
    "beside the state dict": {"state_dict": prefixed("module."), "mean": MEAN.tolist(), "std": tuple(STD.tolist())},
}  # fmt: skip


@pytest.mark.parametrize("name", STORED)
def test_a_stored_normalisation_is_used_as_it_is_stored(name: str, tmp_path: Path) -> None:
    fit = fit_of(STORED[name], tmp_path / "c.pt")
    assert (fit.model, fit.parameters, fit.also) == ("resnet20", {}, [])
    assert "the file stores it" in fit.weights.why
    used = normalisation_for(fit.weights, "", dataset("cifar10"), CIFAR, anyway=False)
    model = assemble(fit.weights, "resnet20", {}, used, dataset("cifar10"), CIFAR)
    x = torch.rand(2, 3, 32, 32)
    expected = network()((x - MEAN[:, None, None]) / STD[:, None, None])
    torch.testing.assert_close(model(x), expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(
        InputError, match=r"'centre' was requested, but the file stores another .*Leave it out"
    ) as caught:
        normalisation_for(fit.weights, "centre", dataset("cifar10"), CIFAR, anyway=False)
    assert "--anyway" in str(caught.value)
    assert normalisation_for(fit.weights, "centre", dataset("cifar10"), CIFAR, anyway=True) == "centre"
    numbers = "0.5,0.4,0.3/0.25,0.2,0.125"
    assert normalisation_for(fit.weights, numbers, dataset("cifar10"), CIFAR, anyway=False) == numbers


def test_stored_values_of_the_data_set_are_called_by_its_name(tmp_path: Path) -> None:
    kept = {"mu": torch.tensor([0.4914, 0.4822, 0.4465]), "sigma": torch.tensor([0.2023, 0.1994, 0.2010])}
    fit = fit_of(beside("", kept), tmp_path / "c.pt")
    assert fit.weights.normalisation == "dataset"
    assert normalisation_for(fit.weights, "dataset", dataset("cifar10"), CIFAR, anyway=False) == "dataset"
    one = fit_of(beside("", {"mean": torch.tensor(0.5), "std": torch.tensor(0.5)}), tmp_path / "c.pt")
    assert one.weights.normalisation == "half"


def test_batch_statistics_and_what_is_no_pair_are_no_normalisation(tmp_path: Path) -> None:
    for entries in (
        {"criterion.mean": torch.rand(10)},
        {"mean": MEAN},
        {"x.mean": MEAN, "x.std": torch.zeros(3)},
    ):
        fit = fit_of(beside("", entries), tmp_path / "c.pt")
        assert fit.weights.stored == ()
        assert fit.weights.normalisation == "dataset"
        assert set(entries) == set(fit.weights.left) or len(fit.weights.left) == 1


BESIDE: dict[str, tuple[Any, str, list[str]]] = {
    "AveragedModel": (beside("module.", {"n_averaged": torch.tensor(7)}), "module", ["n_averaged"]),
    "Lightning": (
        {"state_dict": beside("model.", {"criterion.weight": torch.rand(10)}), "hyper_parameters": {"lr": 0.1}, "pytorch-lightning_version": "2.4"},
        "state_dict.model", ["state_dict.criterion.weight"],
    ),
    "MAE": ({"model": prefixed(""), "optimizer": {"state": {}, "param_groups": []}, "epoch": 3, "args": argparse.Namespace(out=Path("/x"), lr=1)}, "model", []),
    "history": ({"model_state_dict": prefixed(""), "history": {"loss": [1.0, 0.5]}}, "model_state_dict", []),
    "net, acc": ({"net": prefixed("module."), "acc": 91.0, "epoch": 3}, "net.module", []),
    "compiled": ({"model": prefixed("_orig_mod.module.")}, "model._orig_mod.module", []),
    "compiled inside": (prefixed("module._orig_mod."), "module._orig_mod", []),
    "profiled": (beside("", {"conv1.total_ops": torch.zeros(1), "total_params": torch.zeros(1)}), "", []),
    "another head": (beside("backbone.", {"projection.0.weight": torch.rand(8, 64), "projection.0.bias": torch.rand(8)}), "backbone", ["projection.… (2 entries)"]),
    "an odd wrapper": ({"weights": {"student": prefixed("module.")}, "step": 4}, "weights.student.module", []),
    "numbers beside": ({**prefixed(""), "epoch": 3, "lr": 0.1}, "", []),
    "a tuple": ((prefixed(""), {"param_groups": []}), "0", []),
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
def test_what_lies_beside_a_network_is_named_and_left(name: str, tmp_path: Path) -> None:
    stored, part, left = BESIDE[name]
    fit = fit_of(stored, tmp_path / "c.pt")
    assert fit.model == "resnet20"
    assert fit.weights.part is not None
    assert (fit.weights.part.name, fit.weights.left, fit.also) == (part, left, [])
    x = torch.rand(2, 3, 32, 32)
    model = assemble(fit.weights, "resnet20", {}, "none", dataset("cifar10"), CIFAR)
    torch.testing.assert_close(model(x), network()(x), atol=1e-5, rtol=1e-5)


def other(prefix: str = "") -> OrderedDict[str, Tensor]:
    return OrderedDict(
        (key, value + 1 if value.is_floating_point() else value) for key, value in prefixed(prefix).items()
    )


@pytest.mark.parametrize(
    ("stored", "taken", "also", "ask"),
    [
        ({"model": prefixed(""), "ema": other("")}, "model", ["ema"], "ema"),
        ({"ema": {"module": other("")}, "state_dict": prefixed("")}, "state_dict", ["ema.module"], "ema"),
        ({"state_dict": prefixed("module."), "state_dict_ema": other("module.")}, "state_dict.module", ["state_dict_ema.module"], "state_dict_ema"),
        ({**prefixed("student."), **other("teacher.")}, "student", ["teacher"], "teacher"),
        ({"state_dict": {**prefixed("model."), **other("model_ema.module.")}}, "state_dict.model", ["state_dict.model_ema.module"], "state_dict.model_ema"),
        ({"model": prefixed(""), "ema": other(""), "copy": prefixed("")}, "model", ["ema"], "ema"),
    ],
)  # fmt: skip
def test_of_several_networks_the_usual_one_is_taken_and_the_user_may_say_which(
    stored: Any, taken: str, also: list[str], ask: str, tmp_path: Path
) -> None:
    fit = fit_of(stored, tmp_path / "c.pt")
    assert fit.weights.part is not None
    assert (fit.weights.part.name, fit.also) == (taken, also)
    assert f"taken from '{taken}'; '{also[0]}' would fit as well (--part" in fit.told[-1]
    asked = fit_of(stored, tmp_path / "c.pt", ask)
    bias = asked.weights.state_dict["fc.bias"]
    assert torch.equal(bias, network().state_dict()["fc.bias"] + 1)
    with pytest.raises(InputError, match=r"--part: .*'emu'"):
        fit_of(stored, tmp_path / "c.pt", "emu")


@pytest.mark.parametrize(
    "entries",
    [
        {"layer1.0.se.fc1.weight": torch.rand(4, 16)},
        {"conv1.bias": torch.rand(16)},
        {"conv2.weight": torch.rand(16, 16, 3, 3)},
        {"layer4.0.conv1.weight": torch.rand(64, 64, 3, 3)},
        {"fc2.weight": torch.rand(10, 10)},
        {"layer3.2.bn3.weight": torch.rand(64)},
    ],
)
def test_layers_of_the_network_itself_are_not_left_out(entries: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"fit none of the known architectures .*1 are extra"):
        fit_of(beside("", entries), tmp_path / "c.pt")


def test_a_piece_of_a_larger_network_is_no_network_of_its_own(tmp_path: Path) -> None:
    """16 channels of 7 x 7 pixels are as many numbers as an image of MNIST: the end of this network would fit `mlp`."""
    made = nn.ModuleDict({
        "features": nn.Sequential(nn.Conv2d(1, 16, 4, 4)),
        "classifier": nn.Sequential(nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 10)),
    })  # fmt: skip
    torch.save(made.state_dict(), tmp_path / "c.pt")
    from rsctl.catalog.declare import DataShape

    mnist = DataShape(1, 28, 10, {"train": 60_000, "test": 10_000})
    with pytest.raises(InputError, match="fit none of the known architectures"):
        fitting(read_weights(tmp_path / "c.pt"), dataset("mnist"), mnist)
    alone = {f"model.{key}": value for key, value in made["classifier"].state_dict().items()}
    torch.save({**alone, "loss.weight": torch.rand(10), **pair_of_mnist("norm.")}, tmp_path / "c.pt")
    fit = fitting(read_weights(tmp_path / "c.pt"), dataset("mnist"), mnist)
    assert (fit.model, fit.parameters, fit.weights.left) == ("mlp", {"widths": [8]}, ["loss.weight"])
    numbered = {
        f"{int(key[0]) + 1}{key[1:]}": value for key, value in made["classifier"].state_dict().items()
    }
    torch.save({**pair_of_mnist("0."), **numbered}, tmp_path / "c.pt")
    fit = fitting(read_weights(tmp_path / "c.pt"), dataset("mnist"), mnist)
    assert (fit.model, fit.weights.normalisation) == ("mlp", "0.3/0.25")


def pair_of_mnist(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}mean": torch.tensor([0.3]), f"{prefix}std": torch.tensor([0.25])}


def test_wide_networks_of_other_names_are_the_same_function(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = build_model("wideresnet", {"depth": 16, "widen": 1}, dataset=dataset("cifar10"), shape=CIFAR)[
        1
    ].eval()
    places = {
        "0": "conv1",
        "7": "bn1",
        "11": "fc",
        **{str(1 + at): f"block{at // 2 + 1}.layer.{at % 2}" for at in range(6)},
    }
    theirs = {
        f"model.module.{places[key.partition('.')[0]]}.{key.partition('.')[2].replace('shortcut', 'convShortcut')}": value
        for key, value in made.state_dict().items()
    }
    fit = fit_of(
        {"model_state_dict": {**theirs, "norm.module.mu": MEAN, "norm.module.log_sig": STD.log()}},
        tmp_path / "c.pt",
    )
    assert (fit.model, fit.parameters) == ("wideresnet", {"depth": 16, "widen": 1})
    model = assemble(fit.weights, fit.model, fit.parameters, "none", dataset("cifar10"), CIFAR)
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model(x), made(x), atol=1e-5, rtol=1e-5)


def shards(folder: Path, safe: bool) -> None:
    items = list(network().state_dict().items())
    suffix, name = ("safetensors", "model") if safe else ("bin", "pytorch_model")
    places: dict[str, str] = {}
    for at, piece in enumerate((items[:50], items[50:])):
        file = f"{name}-0000{at + 1}-of-00002.{suffix}"
        save_file(dict(piece), folder / file) if safe else torch.save(dict(piece), folder / file)
        places |= dict.fromkeys(dict(piece), file)
    (folder / f"{name}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


FOLDERS: dict[str, Callable[[Path], None]] = {
    "model.safetensors": lambda folder: save_file(network().state_dict(), folder / "model.safetensors"),
    "pytorch_model.bin": lambda folder: torch.save(network().state_dict(), folder / "pytorch_model.bin"),
    "safetensors in two": lambda folder: shards(folder, True),
    "bin in two": lambda folder: shards(folder, False),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders_are_read_and_hashed_by_what_is_in_them(kind: str, tmp_path: Path) -> None:
    from rsctl.catalog.checkpoints import identified
    from rsctl.catalog.weight_files import content

    FOLDERS[kind](tmp_path)
    (tmp_path / "optimizer.bin").write_bytes(b"x")
    weights = read_weights(tmp_path)
    assert fitting(weights, dataset("cifar10"), CIFAR).model == "resnet20"
    known = identified({"file": str(tmp_path)})
    assert known["sha256"] == weights.sha256
    kept = tmp_path / "published.pt"
    kept.write_bytes(content(Path(known["file"])))
    again = read_weights(kept)
    assert again.sha256 == weights.sha256
    assert all(torch.equal(value, again.state_dict[key]) for key, value in weights.state_dict.items())


def test_folders_that_lack_something_say_what(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"without model.safetensors or .* it holds nothing"):
        read_weights(tmp_path)
    shards(tmp_path, True)
    piece = tmp_path / "model-00002-of-00002.safetensors"
    piece.unlink()
    with pytest.raises(InputError, match=r"names model-00002-of-00002.safetensors, which can't be read"):
        read_weights(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    for text in ('{"weight_map": {"a": "../../etc/passwd"}}', "[]", "{"):
        index.write_text(text)
        with pytest.raises(InputError, match="is not an index of weights"):
            read_weights(tmp_path)


def zipped(name: str, data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(name, data)
    return made.getvalue()


def tarred(data: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo("best.pt")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def saved(stored: Any) -> bytes:
    made = io.BytesIO()
    torch.save(stored, made)
    return made.getvalue()


def damaged(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes(255 - byte for byte in data[at : at + 8]) + data[at + 8 :]


def npz() -> bytes:
    made = io.BytesIO()
    np.savez(made, a=np.zeros(3))
    return made.getvalue()


WEIGHTS = saved({"state_dict": prefixed("")})
PIECES = save({name: value.contiguous() for name, value in prefixed("").items()})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"\0" * 5000, "nothing but zeros"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "pointer of Git LFS.* git lfs pull --include best.pt"),
        (b"outs:\n- md5: 12\n  path: best.pt\n", "pointer of DVC"),
        (b"/annex/objects/SHA256E-s3--12", "pointer of git-annex"),
        (b"\n<!DOCTYPE html><html><body>Google Drive", "HTML page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied", "is XML"),
        (b'{"error": "not found"}', "is text, not a checkpoint that PyTorch can read"),
        (gzip.compress(WEIGHTS), "compressed by gzip"),
        (tarred(WEIGHTS), "tar archive"),
        (zipped("best.pt", WEIGHTS), "zip archive with best.pt in it"),
        (WEIGHTS[: len(WEIGHTS) // 2], "ends too early"),
        (damaged(WEIGHTS), "is damaged"),
        (npz(), "archive of NumPy's arrays"),
        (b"\x93NUMPY\x01\x00", "array of NumPy"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b'model_checkpoint_path: "model.ckpt-1"\n', "checkpoints of TensorFlow"),
        (saved({"a": 1})[:0] + b"\x80\x02}q\x00.", r"is a pickle of Python's \(pickle.dump\)"),
        ((64).to_bytes(8, "little") + b'{"a": {"dtype": "F32"', "ends too early"),
        (PIECES[: len(PIECES) // 2], "ends too early"),
        (PIECES[:9], "ends too early"),
        (WEIGHTS[:3], "ends too early"),
        ((12).to_bytes(8, "little") + b"{'a': no JSON", "is no checkpoint that PyTorch can read"),
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_called_what_it_is(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(data)
    with pytest.raises(InputError, match=rf"best\.pt: [\s\S]*({said})"):
        read_weights(tmp_path / "best.pt")


@pytest.mark.parametrize("name", ["model.ckpt.index", "model.ckpt.data-00000-of-00001", "model.ckpt.meta"])
def test_pieces_of_tensorflow_are_told_by_their_names(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x00\x00\x12\xff\x01")
    with pytest.raises(InputError, match="part of a TensorFlow checkpoint"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("data", [gzip.compress(WEIGHTS), tarred(WEIGHTS), zipped("best.pt", WEIGHTS)])
def test_the_command_that_unpacks_works(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a 'file' $HOME.pt"
    file.write_bytes(data)
    with pytest.raises(InputError, match="Unpack it:\n") as caught:
        read_weights(file)
    run(str(caught.value).splitlines()[-1], tmp_path)
    unpacked = tmp_path / f"{file.name}.unpacked"
    assert read_weights(unpacked / "best.pt" if unpacked.is_dir() else unpacked).state_dict


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(value: float, tmp_path: Path) -> None:
    stored = {**prefixed("module."), "loss.weight": torch.tensor([value])}
    assert fit_of(stored, tmp_path / "c.pt").model == "resnet20"  # not of the network
    stored["module.layer1.0.bn1.running_var"] = torch.full((16,), value)
    with pytest.raises(
        InputError, match=r"16 of 16 values of module.layer1.0.bn1.running_var are NaN or infinite"
    ):
        fit_of(stored, tmp_path / "c.pt")


def test_weights_of_eight_bits_are_read(tmp_path: Path) -> None:
    stored = {
        name: value.to(torch.float8_e4m3fn)
        for name, value in prefixed("module.").items()
        if value.is_floating_point()
    }
    fit = fit_of(stored, tmp_path / "c.pt")
    assert fit.model == "resnet20"
    assert (
        assemble(fit.weights, "resnet20", {}, "none", dataset("cifar10"), CIFAR)(torch.zeros(1, 3, 32, 32))
        .isfinite()
        .all()
    )


@pytest.mark.parametrize("parameters", [{}, {"depth": 16, "widen": 4}, {"depth": 10, "widen": 1}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_wide_network_is_known_by_its_own_names(
    prefix: str, parameters: dict[str, int], tmp_path: Path
) -> None:
    made = build_model("wideresnet", parameters, dataset=dataset("cifar10"), shape=CIFAR)[1]
    fit = fit_of({"state_dict": prefixed(prefix, made)}, tmp_path / "c.pt")
    assert (fit.model, fit.parameters) == ("wideresnet", parameters)


def run(command: str, folder: Path) -> None:
    words = command.replace("python ", f"{shlex.quote(sys.executable)} ", 1)
    done = subprocess.run(words, shell=True, cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr


NESTS: dict[str, Callable[[nn.Module], Any]] = {
    "a network": lambda made: made,
    "parallel": nn.DataParallel,
    "under net": lambda made: {"net": made, "acc": 91.0},
    "parallel under net": lambda made: {"net": nn.DataParallel(made), "epoch": 3},
    "with options of arrays": lambda made: {"state_dict": made.state_dict(), "args": argparse.Namespace(log=np.zeros(3))},
    "with its history": lambda made: {"model_state_dict": made.state_dict(), "history": {"loss": np.zeros(3)}},
    "with an optimiser": lambda made: {"model": made.state_dict(), "optimizer": torch.optim.SGD(made.parameters(), 0.1)},
    "deep": lambda made: {"best": {"network": [nn.Sequential(nn.Identity(), made)]}},
    "in half precision": lambda made: {"state_dict": OrderedDict(made.half().state_dict()), "f": np.zeros(1)},
    "arrays of NumPy": lambda made: {name: value.numpy() for name, value in made.state_dict().items()},
    "beside its normalisation": lambda made: {"state_dict": made.state_dict(), "mean": np.full(3, 0.5), "std": np.full(3, np.float32(0.125))},
}  # fmt: skip


@pytest.mark.parametrize("name", NESTS)
def test_the_command_that_converts_works_for_every_layout_it_is_printed_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "it's $HOME `x`.pt"
    torch.manual_seed(0)
    made = nn.Sequential(OrderedDict(fc1=nn.Linear(3072, 8), relu=nn.ReLU(), fc2=nn.Linear(8, 10)))
    torch.save(NESTS[name](made), file)
    with pytest.raises(InputError, match="write its weights to a file of their own") as caught:
        read_weights(file)
    command = str(caught.value).splitlines()[-1]
    if name == "a network":  # once by a shell, which has to leave the file's name alone
        run(command, tmp_path)
    else:
        program, option, code = shlex.split(command)
        assert (program, option) == ("python", "-c")
        monkeypatch.chdir(tmp_path)
        exec(code, {})
    fit = fitting(read_weights(tmp_path / f"{file.stem}.weights.pt"), dataset("cifar10"), CIFAR)
    assert (fit.model, fit.parameters) == ("mlp", {"widths": [8]})
    assert torch.equal(fit.weights.state_dict["3.bias"], made.fc2.bias)  # type: ignore[arg-type]
    if "beside" in name:
        assert fit.weights.normalisation == "0.5,0.5,0.5/0.125,0.125,0.125"
