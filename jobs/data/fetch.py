"""Downloading a data set: an explicit act, on a machine with internet. `python -m jobs.data.fetch NAME DATA_ROOT`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path

from jobs.data.sets import TORCHVISION, open_torchvision
from rsctl.catalog import find, known_datasets
from rsctl.errors import InputError, UnavailableError, UserError
from rsctl.plain import harmless


def fetch(name: str, data_root: Path) -> None:
    """Download a data set through torchvision; what is there and intact is left alone. Progress goes to stderr.

    Raises InputError for an unknown data set and for one that can't be downloaded freely, UnavailableError without network or
    where the folder can't be written.
    """
    declaration = find("data set", name, known_datasets())
    if name not in TORCHVISION:
        if not declaration.where:
            raise InputError(f"{name} comes with the installation: nothing to fetch.")
        raise InputError(
            f"{name} can't be downloaded by rsctl. Put its files there yourself: {declaration.where}."
        )
    try:
        data_root.mkdir(parents=True, exist_ok=True)
        with redirect_stdout(sys.stderr):
            for split in ("train", "test"):
                open_torchvision(name, split, data_root, download=True)
    except (OSError, RuntimeError) as error:  # a URLError is an OSError; torchvision ends with a RuntimeError
        raise UnavailableError(
            f"{name} can't be downloaded to {data_root} ({error}). Compute nodes often have no internet: fetch it on "
            f"a login node or elsewhere, and copy it. Expected: {declaration.where}."
        ) from error


def main(arguments: list[str]) -> int:
    """Exit status of ``NAME DATA_ROOT``; what went wrong is a sentence on stderr."""
    name, data_root = arguments
    try:
        fetch(name, Path(data_root))
    except UserError as error:
        print(harmless(str(error)), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
