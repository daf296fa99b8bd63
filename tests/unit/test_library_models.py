"""Networks of torchvision, timm, Transformers and a Python function: built, loaded from files, refused with a reason."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jobs.checkpoints.fitting import fitting
from jobs.checkpoints.formats import read_weights
from jobs.checkpoints.recognise import assemble
from jobs.models import build_model
from jobs.models.load import Executed
from rsctl.catalog import find, known_datasets, model_table
from rsctl.catalog.declare import DataShape
from rsctl.catalog.models.hf import configuration, configured
from rsctl.cli.app import run
from rsctl.config.sweep import build_sweep
from rsctl.errors import InputError
from rsctl.results.sweep import sweep_results
from rsctl.store.layout import Store

CIFAR = find("data set", "cifar10", known_datasets())
SHAPE = DataShape(3, 32, 10, {})
TINY: dict[str, dict[str, Any]] = {
    "vit": {"image_size": 32, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
    "deit": {"architectures": ["DeiTForImageClassification"], "image_size": 32, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
    "beit": {"image_size": 32, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
             "use_relative_position_bias": True, "out_indices": [1]},
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "convnext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 4},
    "swin": {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4},
    "mobilenet_v2": {"depth_multiplier": 0.35, "image_size": 32},
}  # fmt: skip


def images() -> Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def drawn(network: nn.Module) -> nn.Module:
    """The network with statistics of batch normalisation that aren't neutral."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)  # type: ignore[union-attr,operator]
            layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr,operator]
    return network.eval()


def loaded(file: Path, arch: str, **parameters: Any) -> nn.Module:
    """The base classifier of a file, without normalisation."""
    table = configured_table(arch, **parameters)
    fit = fitting(read_weights(file), CIFAR, SHAPE, table.pop("name"), table)
    return assemble(fit.weights, fit.model, fit.parameters, "none", CIFAR, SHAPE)


def configured_table(arch: str, **parameters: Any) -> dict[str, Any]:
    table = model_table({"name": arch, **parameters})
    return (
        {**configured({k: v for k, v in table.items() if k != "name"}), "name": "hf"}
        if table["name"] == "hf"
        else table
    )


def executed_alike(model: nn.Module, expected: Tensor) -> None:
    """The function that is sampled, folded and fused, has these logits."""
    assert torch.allclose(Executed(model, "fp32", example=images())(images()), expected, atol=1e-4)


@pytest.mark.parametrize("kind", TINY)
def test_transformers_folders(kind: str, tmp_path: Path) -> None:
    import transformers

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, num_labels=10, num_channels=3, **TINY[kind])
    network = drawn(transformers.AutoModelForImageClassification.from_config(config))
    network.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = network(pixel_values=images()).logits
        model = loaded(tmp_path, f"hf:{tmp_path}")
        assert torch.allclose(model(images()), expected, atol=1e-5)
        executed_alike(model, expected)


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "bare": lambda weights: weights,
    "module": lambda weights: {"state_dict": {f"module.{key}": one for key, one in weights.items()}, "epoch": 3},
    "compiled": lambda weights: {"model": {f"_orig_mod.{key}": one for key, one in weights.items()}},
    "lightning": lambda weights: {
        "state_dict": {f"model.{key}": one for key, one in weights.items()}, "pytorch-lightning_version": "2.0",
    },
    "half": lambda weights: {key: one.half() if one.is_floating_point() else one for key, one in weights.items()},
}  # fmt: skip


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_torchvision_in_every_wrapping(wrapping: str, tmp_path: Path) -> None:
    from torchvision.models import shufflenet_v2_x0_5

    torch.manual_seed(0)
    network = drawn(shufflenet_v2_x0_5(num_classes=10))
    torch.save(WRAPPINGS[wrapping](network.state_dict()), tmp_path / "file.pt")
    with torch.no_grad():
        model = loaded(tmp_path / "file.pt", "torchvision:shufflenet_v2_x0_5")
        tolerance = 0.05 if wrapping == "half" else 1e-5
        assert torch.allclose(model(images()), network(images()), atol=tolerance)


@pytest.mark.parametrize(
    "name", ["test_vit", "test_resnet", "test_convnext", "test_efficientnet", "test_nfnet"]
)
def test_timm(name: str, tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = drawn(timm.create_model(name, num_classes=10))
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    with torch.no_grad():
        model = loaded(tmp_path / "model.safetensors", f"timm:{name}", resize=160)
        larger = nn.functional.interpolate(images(), (160, 160), mode="bicubic", antialias=True)
        assert torch.allclose(model(images()), network(larger), atol=1e-4)
        executed_alike(model, network(larger))


def test_a_head_of_other_classes(tmp_path: Path) -> None:
    from torchvision.models import shufflenet_v2_x0_5

    torch.manual_seed(0)
    network = drawn(shufflenet_v2_x0_5(num_classes=30))
    torch.save(network.state_dict(), tmp_path / "file.pt")
    arch = "torchvision:shufflenet_v2_x0_5"
    with pytest.raises(
        InputError,
        match=r"fc\.weight has shape \(30, 1024\) and not \(10, 1024\).*has 30 outputs.*--set model.head=30",
    ):
        loaded(tmp_path / "file.pt", arch)
    chosen = [7, 3, 29, 0, 1, 2, 4, 5, 6, 8]
    with torch.no_grad():
        model = loaded(tmp_path / "file.pt", arch, head=30, outputs=chosen)
        assert torch.allclose(model(images()), network(images())[:, chosen], atol=1e-5)
    with pytest.raises(InputError, match="30 outputs and the data set 10 classes"):
        loaded(tmp_path / "file.pt", arch, head=30)
    with pytest.raises(InputError, match=r"30 isn't one of the network's 30 outputs \(0 to 29\)"):
        loaded(tmp_path / "file.pt", arch, head=30, outputs=[*chosen[1:], 30])


def test_normalisation_of_the_library(tmp_path: Path) -> None:
    import timm

    torch.save(timm.create_model("test_vit", num_classes=10).state_dict(), tmp_path / "file.pt")
    fit = fitting(
        read_weights(tmp_path / "file.pt"), CIFAR, SHAPE, "timm", {"architecture": "test_vit", "resize": 160}
    )
    assert (fit.weights.normalisation, fit.weights.why) == ("half", "timm states it for this architecture")


@pytest.mark.parametrize(("name", "normalisation"), [("test_vit", "half"), ("resnet10t", "dataset")])
def test_normalisation_of_the_library_for_images_without_colours(
    name: str, normalisation: str, tmp_path: Path
) -> None:
    """The library states three channels: equal ones hold for one, others say nothing of it."""
    import timm

    torch.save(timm.create_model(name, num_classes=10, in_chans=1).state_dict(), tmp_path / "file.pt")
    fit = fitting(
        read_weights(tmp_path / "file.pt"), known_datasets()["mnist"], DataShape(1, 28, 10, {}), "timm",
        {"architecture": name, "resize": 160},
    )  # fmt: skip
    assert fit.weights.normalisation == normalisation


def test_a_head_of_fewer_classes_is_named(tmp_path: Path) -> None:
    torch.save(linear_network(7).state_dict(), tmp_path / "file.pt")
    with pytest.raises(InputError, match=r"Its head has 7 outputs, and the data set 10 classes\.$"):
        loaded(tmp_path / "file.pt", f"python:{__name__}:linear_network")


class Tuple(nn.Module):
    """A network that returns more than logits."""

    def forward(self, x: Tensor) -> Any:
        return x.flatten(1)[:, :10], x


def tuple_network(outputs: int) -> nn.Module:
    return Tuple()


def linear_network(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, outputs))


def no_network(outputs: int) -> list[int]:
    return [outputs]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("torchvision:resnet8", "unknown classifier of torchvision 'resnet8'. Did you mean 'resnet18'?"),
        ("torchvision:vit_b_32", r"doesn't take images of 3x32x32 \(AssertionError: Wrong image height! Expected 224 but got 32!\). model.resize"),
        ("timm:resnt18", "has no model 'resnt18'. Close to it: resnet18"),
        (f"python:{__name__}:tuple_network", r"returns a tuple; it must return logits"),
        (f"python:{__name__}:no_network", "is a list, not an nn.Module"),
        (f"python:{__name__}:nothing", "can't be imported here"),
        ("python:package.module.function", "'package.module.function' isn't `package.module:function`"),
        ("python:no_such_package_at_all:nothing", "No module named 'no_such_package_at_all'"),
    ],
)  # fmt: skip
def test_refusals(model: str, reason: str) -> None:
    table = model_table({"name": model})
    with pytest.raises(InputError, match=reason):
        build_model(table.pop("name"), table, dataset=CIFAR, shape=SHAPE)


@pytest.mark.parametrize(
    ("model", "package"), [("torchvision:shufflenet_v2_x0_5", "torchvision"), ("timm:test_resnet", "timm")]
)
def test_the_release_of_the_library_is_kept_with_the_counts(model: str, package: str) -> None:
    table = model_table({"name": model})
    network = build_model(table.pop("name"), table, dataset=CIFAR, shape=SHAPE)
    described = Executed(network, "fp32", example=images()).described(torch.device("cpu"), 4, 4)
    assert described["libraries"] == f"{package} {version(package)}"
    plain = build_model("resnet20", {}, dataset=CIFAR, shape=SHAPE)
    assert "libraries" not in Executed(plain, "fp32").described(torch.device("cpu"), 4, 4)


def test_a_function_of_ones_own() -> None:
    table = model_table({"name": f"python:{__name__}:linear_network"})
    assert build_model(table.pop("name"), table, dataset=CIFAR, shape=SHAPE)(images()).shape == (3, 10)


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_an_extra_that_is_not_installed(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    name, more = (
        ("timm", {"architecture": "resnet18"})
        if library == "timm"
        else ("hf", {"config": '{"model_type": "vit"}'})
    )
    with pytest.raises(InputError, match=rf"pip install 'rsctl\[{name}\]'"):
        build_model(name, more, dataset=CIFAR, shape=SHAPE)


def test_configurations(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    stated = {
        "model_type": "vit",
        "id2label": {"0": "cat", "1": "dog"},
        "hidden_size": 8,
        "transformers_version": "4",
    }
    file.write_text(json.dumps(stated))
    assert json.loads(configuration(tmp_path)) == {"model_type": "vit", "hidden_size": 8, "num_labels": 2}
    for values, reason in (
        ({**stated, "auto_map": {"AutoModel": "code.Network"}}, "is code of its own on the hub"),
        ({"hidden_size": 8}, "has no model_type"),
        ([], "isn't a table"),
    ):
        file.write_text(json.dumps(values))
        with pytest.raises(InputError, match=reason):
            configuration(tmp_path)
    file.write_text("{")
    with pytest.raises(InputError, match="can't be read"):
        configuration(tmp_path)
    with pytest.raises(InputError, match="'rsctl model fetch hf:owner/name' downloads it"):
        configured({"architecture": "owner/name"})


def tiny_folder(folder: Path) -> Path:
    """A vision transformer for digits as Transformers saves it."""
    import transformers

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        "vit", num_labels=10, **{**TINY["vit"], "image_size": 16, "num_channels": 1}
    )
    transformers.AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5], "image_std": [0.5]}')
    return folder


CERTIFY = [
    "--dataset",
    "digits",
    "--sigma",
    "0.25",
    "--n0",
    "5",
    "--n",
    "20",
    "--max-images",
    "3",
    "--set",
    "model.resize=16",
    "--anyway",
]


@pytest.mark.long
def test_certify_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "runs"))
    folder = tiny_folder(tmp_path / "tiny-vit")
    assert run(["certify", str(folder), *CERTIFY]) == 0
    out, err = capsys.readouterr()
    assert "normalisation 'half': hf states it for this architecture" in err
    assert "hf:tiny-vit" in out
    assert (
        "Networks that resize their images, to 16x16: the resize is part of the certified classifier" in out
    )
    store = Store(tmp_path / "runs")
    (name,) = store.sweep_names()
    (row,) = sweep_results(store, name).rows
    assert row.images == 3
    assert str(tmp_path) not in row.training.model_dump_json(include={"model_parameters"})


class Hub(BaseHTTPRequestHandler):
    """A hub with one repository."""

    folder: Path

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        names = [one.name for one in self.folder.iterdir()]
        commit = "a" * 40
        if self.path.startswith("/api/models/owner/tiny/tree/"):
            files = [
                {"type": "file", "path": one.name, "size": one.stat().st_size, "oid": "0" * 40}
                for one in self.folder.iterdir()
            ]
            return self._send(json.dumps(files).encode(), {}, body)
        if self.path.startswith("/api/models/owner/tiny"):
            values = {"id": "owner/tiny", "sha": commit, "siblings": [{"rfilename": name} for name in names], "private": False,
                      "downloads": 0, "likes": 0, "tags": []}  # fmt: skip
            return self._send(json.dumps(values).encode(), {}, body)
        name = self.path.rpartition("/")[2]
        if f"/owner/tiny/resolve/{commit}/" not in self.path or name not in names:
            return self.send_error(404)
        data = (self.folder / name).read_bytes()
        return self._send(data, {"ETag": f'"{sha256(data).hexdigest()}"', "X-Repo-Commit": commit}, body)

    def _send(self, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A hub on this machine and an empty cache; yields the folder of the repository owner/tiny."""
    folder = tiny_folder(tmp_path / "repository")
    (folder / "code.py").write_text("raise SystemExit('code of the hub was run')")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Hub,), {"folder": folder}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    yield folder
    server.shutdown()


def test_weights_are_fetched_without_code(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "runs"))
    assert run(["certify", "hf:owner/tiny", *CERTIFY]) == 2
    assert (
        "'rsctl model fetch hf:owner/tiny' downloads them where there is internet" in capsys.readouterr().err
    )
    assert run(["model", "fetch", "hf:owner/tiny"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert {one.name for one in folder.iterdir()} == {
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
    }


@pytest.mark.long
def test_certify_what_was_fetched_without_the_hub(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "runs"))
    assert run(["model", "fetch", "hf:owner/tiny"]) == 0
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert run(["certify", "hf:owner/tiny", *CERTIFY]) == 0
    out, err = capsys.readouterr()
    assert "normalisation 'half': hf states it for this architecture" in err
    assert "hf:owner/tiny" in out
    assert (
        "Networks that resize their images, to 16x16: the resize is part of the certified classifier" in out
    )


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"outputs": [1, 2]}, "model.outputs: has 2 entries, but the data set has 10 classes"),
        ({"outputs": list(range(1, 11))}, "model.outputs: 10 isn't one of the network's 10 outputs"),
        ({"head": 1000}, "model.head: is 1000, but the data set has 10 classes"),
        ({"config": "{"}, "model.config: isn't JSON"),
        ({"config": "[1]"}, "model.config: must be a table of JSON with a model_type"),
    ],
)  # fmt: skip
def test_check_refuses_outputs_and_configurations_that_a_task_would_refuse(
    tmp_path: Path, model: dict[str, Any], told: str
) -> None:
    stated = {"name": "hf", "architecture": "tiny", "config": json.dumps({"model_type": "resnet"}), **model}
    raw = {"name": "a", "dataset": "digits", "model": stated, "method": "gaussian", "sigma": 0.5}
    with pytest.raises(InputError) as refused:
        build_sweep(raw, "a.toml", tmp_path)
    assert told in str(refused.value)
