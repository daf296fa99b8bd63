"""Published weights of libraries: `python -m jobs.library_weights timm:resnet18 [--fetch]` prints where they are on this machine.

Only `--fetch` reaches the internet; a task never does. One JSON document: `file`, of weights or a folder, or null.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from jobs.printing import print_json
from rsctl.catalog.models.hf import hub_folder
from rsctl.errors import InputError, UnavailableError

PATTERNS = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json")
"""Files of a repository that are downloaded: no code, and no pickles."""


def of_torchvision(architecture: str, fetch: bool) -> Path | None:
    """torch.hub's copy of the newest weights of an architecture."""
    from torchvision import models

    try:
        url = list(models.get_model_weights(architecture))[-1].url
    except (ValueError, IndexError) as error:
        raise InputError(f"torchvision has no weights of '{architecture}' ({error}).") from error
    name = url.rpartition("/")[2]
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    if fetch and not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        # The name ends in the beginning of the content's SHA-256.
        torch.hub.download_url_to_file(url, str(file), hash_prefix=name.rpartition("-")[2].partition(".")[0])
    return file if file.is_file() else None


def of_timm(architecture: str, fetch: bool) -> Path | None:
    """The hub's cached repository of an architecture of timm."""
    import timm

    stated = timm.get_pretrained_cfg(architecture) if timm.is_model(architecture.partition(".")[0]) else None
    if stated is None or not stated.hf_hub_id:
        raise InputError(f"timm {timm.__version__} states no repository with weights of '{architecture}'.")
    return of_hub(stated.hf_hub_id, fetch)


def of_hub(repository: str, fetch: bool) -> Path | None:
    """The hub's cached repository."""
    if fetch:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(repository, allow_patterns=list(PATTERNS)))
    return hub_folder(repository)


SOURCES: dict[str, Callable[[str, bool], Path | None]] = {
    "torchvision": of_torchvision,
    "timm": of_timm,
    "hf": of_hub,
}


def located(name: str, fetch: bool) -> dict[str, Any]:
    """The file or folder with the weights of `library:architecture`; raises UserError."""
    library, _, architecture = name.partition(":")
    if library not in SOURCES or not architecture:
        raise InputError(f"'{name}' is not of the form {', '.join(f'{one}:NAME' for one in SOURCES)}.")
    try:
        file = SOURCES[library](architecture, fetch)
    except ImportError as error:
        raise UnavailableError(
            f"{library} isn't installed here ({error.name}): pip install 'rsctl[{library}]'."
        ) from error
    except InputError:
        raise
    except Exception as error:  # whatever a download raises
        raise UnavailableError(f"{name} can't be downloaded ({type(error).__name__}: {error}).") from error
    return {"file": None if file is None else str(file)}


def main(arguments: list[str]) -> int:
    """Entry point; errors go to stderr."""
    parser = argparse.ArgumentParser(prog="rsctl model fetch")
    parser.add_argument("name")
    parser.add_argument("--fetch", action="store_true")
    options = parser.parse_args(arguments)
    return print_json(lambda: located(options.name, options.fetch))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
