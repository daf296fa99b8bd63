"""Image classifiers of Transformers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic import Field

from rsctl.catalog.declare import Model
from rsctl.catalog.library import NamedArchitecture
from rsctl.errors import InputError
from rsctl.regular import read_regular

MOST_BYTES = 4 << 20
"""Most bytes of a configuration."""
_LEFT_OUT = ("id2label", "label2id", "transformers_version", "_name_or_path", "torch_dtype", "dtype")
"""Keys of a configuration that don't change the network."""
NORMALISATION = ("image_mean", "image_std")
"""Keys of the image processor's configuration that are kept with the network's own: its normalisation."""


class ConfiguredArchitecture(NamedArchitecture):
    """A network that a configuration describes."""

    architecture: str = ""
    """`owner/name` on the hub, from its cache on this machine, or a folder with config.json, of which the last part is kept."""
    config: str = Field("")
    """The configuration as JSON; read from the folder or the hub's cache if left out."""


def hub_folder(name: str) -> Path | None:
    """The newest snapshot of a repository in the hub's cache on this machine, or None."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()
    repository = cache / f"models--{name.replace('/', '--')}"
    try:
        revision = (repository / "refs" / "main").read_text().strip()
    except (OSError, UnicodeDecodeError, ValueError):
        return None
    folder = repository / "snapshots" / revision
    return folder if revision and "/" not in revision and folder.is_dir() else None


def configured(values: dict[str, Any]) -> dict[str, Any]:
    """The parameters with the configuration that they name; raises InputError where there is none."""
    name = values.get("architecture")
    if config := values.get("config"):
        _require_configuration(config)
        return values
    if not isinstance(name, str) or not name:
        raise InputError(
            "model.architecture: is required: owner/name on the hub, or a folder with config.json."
        )
    folder = Path(name).expanduser()
    found = folder if (folder / "config.json").is_file() else hub_folder(name)
    if found is None:
        raise InputError(
            f"model.architecture: '{name}' is neither a folder with config.json nor in the hub's cache on this machine. "
            f"'rsctl model fetch hf:{name}' downloads it where there is internet."
        )
    called = folder.resolve().name if found == folder else name
    return {**values, "architecture": called, "config": configuration(found)}


def _require_configuration(config: Any) -> None:
    try:
        stated = json.loads(config)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"model.config: isn't JSON ({error}).") from error
    if not isinstance(stated, dict) or not isinstance(stated.get("model_type"), str):
        raise InputError(
            "model.config: must be a table of JSON with a model_type, as config.json on the hub is."
        )


def configuration(folder: Path) -> str:
    """The network that a folder's config.json describes, with the normalisation of its preprocessor_config.json, as canonical JSON."""
    stated = _read(folder / "config.json")
    if "auto_map" in stated:
        raise InputError(
            f"{folder / 'config.json'}: its network is code of its own on the hub (auto_map), which isn't run. "
            "Use an architecture that Transformers has, or write a plugin."
        )
    if not isinstance(stated.get("model_type"), str):
        raise InputError(
            f"{folder / 'config.json'}: has no model_type, so it isn't a network of Transformers."
        )
    labels = stated.get("id2label")
    kept = {key: value for key, value in stated.items() if key not in _LEFT_OUT}
    if isinstance(labels, dict):
        kept["num_labels"] = len(labels)
    processor = folder / "preprocessor_config.json"
    if processor.is_file():
        kept |= {key: value for key, value in _read(processor).items() if key in NORMALISATION}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))


def _read(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_regular(file.resolve(), MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: can't be read ({getattr(error, 'strerror', None) or error}).") from error
    if not isinstance(values, dict):
        raise InputError(f"{file}: isn't a table of JSON.")
    return values


MODELS = (
    Model(
        "hf",
        "An image classifier of Transformers",
        "Wolf et al.: Transformers, AutoModelForImageClassification",
        ConfiguredArchitecture,
        rate=0.1,
        shorthand="architecture",
        package="transformers",
        complete=configured,
        about='Any image classifier of Transformers, built from its config.json: `model = "hf:owner/name"`, or a folder. Code of the hub '
        "is never run, and a task never downloads.",
        use_when="To certify an image classifier from the Hugging Face hub.",
        example={
            "dataset": "cifar10",
            "model.architecture": "microsoft/resnet-18",
            "model.config": '{"model_type": "resnet", "num_labels": 10}',
        },
    ),
)
