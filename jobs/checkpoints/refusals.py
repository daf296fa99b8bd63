"""Error messages for checkpoints that can't be used as they are, with a command that converts them."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jobs.tensors import TorchScriptArchive


def quantised(file: Path, kind: Any) -> str:
    """Error message for weights that only integer arithmetic can use."""
    return (
        f"{file}: holds the weights of a quantised network ({kind}), whose integer arithmetic isn't run here. "
        "Take the checkpoint with floating-point weights that it was made from."
    )


def cascade(file: Path, wrapping: str, count: int) -> str:
    """Error message for cascades: several networks, each for images that those before it can't certify."""
    read = _read(file, "torch.load", ", weights_only=True")
    code = f"import torch; torch.save({read}[{wrapping!r}][0], {file.stem + '.first.pt'!r})"
    return (
        f"{file}: holds {count} networks under '{wrapping}', a cascade whose later ones see what earlier ones can't certify; "
        f"rsctl certifies one network. The first to a file of its own:\npython -c {shlex.quote(code)}"
    )


TORCH = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
"""First number of a file that torch.save wrote before release 1.6."""
KEPT = (
    "f = lambda v: f(v.state_dict()) if hasattr(v, 'state_dict') else {str(k): f(w) for k, w in v.items()} if hasattr(v, 'items') "
    "else [f(w) for w in v] if isinstance(v, (list, tuple)) else torch.tensor(v) if hasattr(v, 'dtype') and v.dtype in ('f2', 'f4', "
    "'f8', 'u1', 'i1', 'i2', 'i4', 'i8', '?') else v if isinstance(v, (torch.Tensor, int, float, str)) else None"
)
"""Python that keeps the weights of whatever holds them, NumPy's arrays too, and of the rest what is a number or a text."""


def unreadable(file: Path, error: Exception) -> str:
    """Error message for a file that PyTorch's reader refused."""
    if isinstance(error, TorchScriptArchive):
        return (
            f"{file}: is a TorchScript program, not weights; loading it would run code of the file, so it is refused. Where you "
            f"trust it, write its weights to a file of their own:\n{_converted(file, 'torch.jit.load', '')}"
        )
    # What PyTorch says when it refuses to import or to call something.
    needs = re.search(r"GLOBAL ([\w.]+)|unrecognized function <\w+ ([^>]+)>|class ([\w.]+)", str(error))
    if needs is None and "Unsupported operand" in str(error):
        return (
            f"{file}: is of torch.save with a pickle protocol that can't be read without running code of the file, so it is refused. "
            f"Where you trust it, write its weights to a file of their own:\n{_converted(file, 'torch.load', ', weights_only=False')}"
        )
    if needs is None:
        reason = re.search(r"WeightsUnpickler error:\s*(.+)", str(error)) or re.search("(.+)", str(error))
        message = reason[1] if reason else ""
        return f"{file}: is no checkpoint that PyTorch can read ({type(error).__name__}: {message})."
    name = next(filter(None, needs.groups()))
    package = name.split(".")[0]
    if package == "__main__":
        where = ", in the script that defined it"
    else:
        where = "" if find_spec(package) else f", where its authors' code with '{package}' is"
    return (
        f"{file}: holds Python objects besides weights ({name}); loading it would run code of the file, "
        "so it is refused. Where you trust it, write its weights to a file of their own"
        f"{where}:\n{_converted(file, 'torch.load', ', weights_only=False')}"
    )


def is_pickle(data: bytes) -> bool:
    """Return whether a file is what pickle.dump writes; torch.save once wrote such files, which begin with a number of its own."""
    return (
        data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and TORCH not in data[:32]
    )


def pickled(file: Path) -> str:
    """The sentence about such a file."""
    code = f"import pickle, torch; {KEPT}; torch.save(f(pickle.load(open({str(file)!r}, 'rb'))), {file.stem + '.weights.pt'!r})"
    return (
        f"{file}: is a pickle of Python's (pickle.dump), not a file of torch.save; loading it would run code of the file, so it is "
        f"refused. Where you trust it, write its weights to a file of their own:\npython -c {shlex.quote(code)}"
    )


def _converted(file: Path, load: str, how: str) -> str:
    """The command that writes a file which can be read."""
    code = f"import torch; {KEPT}; torch.save(f({_read(file, load, how)}), {file.stem + '.weights.pt'!r})"
    return f"python -c {shlex.quote(code)}"


def _read(file: Path, load: str, how: str) -> str:
    return f"{load}({str(file)!r}, map_location='cpu'{how})"
