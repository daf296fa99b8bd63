"""Checkpoints as other tools write them: taken as the same function, or refused with what they are and a way that works."""

from __future__ import annotations

import pickle
import shlex
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed import checkpoint as dcp
from torch.nn.utils import weight_norm
from torch.nn.utils.parametrizations import weight_norm as parametrized

from jobs.checkpoints.fitting import Fit, fitting
from jobs.checkpoints.formats import read_weights
from jobs.checkpoints.recognise import assemble
from jobs.models import build_model
from rsctl.catalog import find, known_datasets
from rsctl.catalog.declare import DataShape
from rsctl.cli.set_values import given_tables
from rsctl.errors import InputError

DATASET = find("data set", "cifar10", known_datasets())
CIFAR = DataShape(3, 32, 10, {"train": 50_000, "test": 10_000})


def resnet20() -> nn.Module:
    torch.manual_seed(0)
    return build_model("resnet20", {}, dataset=DATASET, shape=CIFAR)[1].eval()


def fit_of(stored: Any, file: Path) -> Fit:
    torch.save(stored, file)
    return fitting(read_weights(file), DATASET, CIFAR)


def same(fit: Fit, network: nn.Module) -> None:
    model = assemble(fit.weights, fit.model, fit.parameters, "none", DATASET, CIFAR)
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model(x), network(x), atol=1e-5, rtol=1e-5)


def execute(command: str, folder: Path) -> None:
    """The last line of a message, by a shell."""
    words = command.replace("python ", f"{shlex.quote(sys.executable)} ", 1)
    done = subprocess.run(words, shell=True, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("prefix", "head"),
    [
        ("", "classifier."),
        ("module.", "classifier."),
        ("backbone.", "head."),
        ("", "head.fc."),
        ("", "last_linear."),
    ],
)
def test_the_last_layer_has_the_name_that_its_library_gives_it(
    head: str, prefix: str, tmp_path: Path
) -> None:
    made = resnet20()
    stored = {
        prefix + (head + key[3:] if key.startswith("fc.") else key): value
        for key, value in made.state_dict().items()
    }
    fit = fit_of({"state_dict": stored}, tmp_path / "c.pt")
    assert (fit.model, fit.weights.left) == ("resnet20", [])
    same(fit, made)


def plain_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 4, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(512, 16), nn.ReLU(), nn.Linear(16, 10),
    )  # fmt: skip


def normed(how: Callable[..., nn.Module], **options: Any) -> nn.Module:
    made = plain_network()
    for at in (0, 2, 5, 7):
        how(made[at], **options)
    with torch.no_grad():  # lengths that aren't those of the directions
        for name, one in made.named_parameters():
            one.mul_(1.3 if name.endswith(("_g", "original0")) else 1)
    return made


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize(
    "wrap", [lambda made: made.state_dict(), lambda made: {"net": nn.DataParallel(made).state_dict()}]
)
@pytest.mark.parametrize(
    ("how", "options"),
    [(weight_norm, {}), (parametrized, {}), (weight_norm, {"dim": None}), (parametrized, {"dim": None})],
)
def test_weight_norm_of_both_styles_is_multiplied_out(
    how: Callable[..., nn.Module], options: dict[str, Any], wrap: Callable[[nn.Module], Any], tmp_path: Path
) -> None:
    made = normed(how, **options)
    fit = fit_of(wrap(made), tmp_path / "c.pt")
    assert (fit.model, fit.weights.left) == ("convolutions", [])
    same(fit, made)


def test_lengths_that_are_not_those_of_the_directions_are_left_as_they_are(tmp_path: Path) -> None:
    stored = {
        "0.weight_g": torch.ones(3, 1),
        "0.weight_v": torch.ones(4, 4),
        "0.bias": torch.ones(4),
        "2.weight": torch.ones(10, 4),
    }
    with pytest.raises(InputError, match="fit none of the known architectures"):
        fit_of(stored, tmp_path / "c.pt")


@pytest.mark.filterwarnings("ignore:.*weight_norm", "ignore:.*torch.distributed")
@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(lambda made: made.state_dict(), marks=pytest.mark.long),
        pytest.param(lambda made: {"model": made.state_dict()}, marks=pytest.mark.long),
        lambda made: {
            "model": made.state_dict(),
            "optimizer": torch.optim.SGD(made.parameters(), 0.1).state_dict(),
            "step": 3,
        },
    ],
)
def test_a_folder_of_distributed_checkpoints_becomes_a_file_by_the_command_named(
    stored: Callable[[nn.Module], Any], tmp_path: Path
) -> None:
    made, folder = plain_network(), tmp_path / "it's step_100"
    dcp.save(stored(made), checkpoint_id=str(folder))
    with pytest.raises(
        InputError, match=r"is a folder of torch\.distributed\.checkpoint; .* refused"
    ) as caught:
        read_weights(folder)
    execute(str(caught.value).splitlines()[-1], tmp_path)
    same(fitting(read_weights(tmp_path / "it's step_100.pt"), DATASET, CIFAR), made)


@pytest.mark.parametrize(
    ("protocol", "kept"),
    [
        (2, lambda weights: weights),
        (4, lambda weights: weights),
        (5, lambda weights: {name: value.numpy() for name, value in weights.items()}),
        (
            4,
            lambda weights: {
                "state_dict": OrderedDict(weights),
                "epoch": 3,
                "history": {"loss": np.zeros(3)},
            },
        ),
    ],
)
def test_a_pickle_is_named_and_becomes_a_file_by_the_command_named(
    kept: Callable[[Any], Any], protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, file = plain_network(), tmp_path / "it's.pkl"
    file.write_bytes(pickle.dumps(kept(made.state_dict()), protocol=protocol))
    with pytest.raises(
        InputError, match=r"is a pickle of Python's \(pickle\.dump\), not a file of torch\.save"
    ) as caught:
        read_weights(file)
    program, option, code = shlex.split(str(caught.value).splitlines()[-1])
    assert (program, option) == ("python", "-c")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    same(fitting(read_weights(tmp_path / "it's.weights.pt"), DATASET, CIFAR), made)


def test_old_files_of_torch_save_are_no_pickles(tmp_path: Path) -> None:
    made, file = plain_network(), tmp_path / "c.pt"
    torch.save(made.state_dict(), file, _use_new_zipfile_serialization=False)
    same(fitting(read_weights(file), DATASET, CIFAR), made)
    torch.save(made.state_dict(), file, _use_new_zipfile_serialization=False, pickle_protocol=4)
    with pytest.raises(InputError, match=r"is of torch\.save with a pickle protocol that") as caught:
        read_weights(file)
    execute(str(caught.value).splitlines()[-1], tmp_path)
    same(fitting(read_weights(tmp_path / "c.weights.pt"), DATASET, CIFAR), made)


def test_strides_of_their_own_are_asked_for_and_the_option_named_takes_them(tmp_path: Path) -> None:
    """Convolutions of one kernel, the second with a stride of 2: weights don't tell which one it is."""
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 10)
    )  # fmt: skip
    with pytest.raises(
        InputError, match=r"Closest is convolutions: no one stride of its 2 convolutions"
    ) as caught:
        fit_of(made.state_dict(), tmp_path / "c.pt")
    words = shlex.split(str(caught.value).partition("such as ")[2].partition(" (channels")[0])
    assert words[:3] == ["--arch", "convolutions", "--set"]
    choices = int(str(caught.value).partition("linear layer; ")[2].split()[0])
    assert choices == 2
    given = given_tables([words[3]], "")["model"]
    weights = read_weights(tmp_path / "c.pt")
    assert fitting(weights, DATASET, CIFAR, "convolutions", given).model == "convolutions"
    own = {"convolutions": [[8, 3, 1, 1], [8, 3, 2, 1]]}
    same(fitting(weights, DATASET, CIFAR, "convolutions", own), made)


def test_sizes_that_no_strides_explain_are_not_asked_for(tmp_path: Path) -> None:
    made = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 7 * 7, 10))
    with pytest.raises(
        InputError, match=r"Closest is convolutions: no usual strides and paddings .* 392 inputs"
    ):
        fit_of(made.state_dict(), tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (
            ["patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "head.weight", "norm.weight"],
            "a vision transformer",
        ),
        (
            [
                "features.denseblock1.denselayer1.conv1.weight",
                "classifier.weight",
                "features.norm5.weight",
                "a.b",
            ],
            "a DenseNet",
        ),
        (
            ["conv_stem.weight", "blocks.0.0.conv_dw.weight", "classifier.weight", "bn1.weight"],
            "an EfficientNet or MobileNet of timm",
        ),
        (
            ["features.0.weight", "classifier.0.weight", "classifier.3.weight", "classifier.6.weight"],
            "a VGG or AlexNet",
        ),
        (
            ["stages.0.blocks.0.conv_dw.weight", "stem.0.weight", "head.fc.weight", "a.c"],
            "a ConvNeXt or RegNet of timm",
        ),
    ],
)
def test_networks_that_are_not_declared_are_called_by_their_family(
    names: list[str], family: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"Its names are those of {family}.*--arch timm:NAME"):
        fit_of({name: torch.ones(4, 4) for name in names}, tmp_path / "c.pt")
