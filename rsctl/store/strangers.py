"""Reads unverified data files in a separate process: a crash, a hang or a lack of memory there becomes a message here.

One process serves all files of a command. It forks the reader; when a file kills the reader, it reports the signal and
forks the next one, so that many bad files cost milliseconds each. Arrays return as plain bytes, never pickled.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import resource
import select
import signal
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from rsctl.modules import module_command
from rsctl.store.digest import SIZE, Corrupt, check_digest, has_digest, own_bytes
from rsctl.store.hdf5 import KINDS, LARGEST, Content, decode

_PATIENCE = 30.0
"""Seconds of wall time after which the process is killed, where the machine is too busy for the limit on CPU time."""
_COMPUTING = 1.0
"""Seconds of CPU time that a small file may take."""
_MEMORY = 900_000_000
"""Bytes beyond those that the process has at its start."""
_HEADER = 50_000_000
_DEADLY = {
    signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGPROF, signal.SIGSYS,
}  # fmt: skip
"""Signals caused by the file itself; others come from outside."""


class _Helper:
    """The reading process, and the files that killed it before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._deadly: dict[tuple[int, ...], str] = {}

    def read(self, path: Path) -> Content:
        """The content of a file; raises Corrupt, or OSError where it can't be read now."""
        status = os.stat(path)
        stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        with self._lock:
            if stamp in self._deadly:
                raise Corrupt(self._deadly[stamp])
            header, blocks = self._ask(path)
        if "errno" in header:
            raise OSError(int(header["errno"]), os.strerror(int(header["errno"])), str(path))
        if "signal" in header:
            number = int(header["signal"])
            if number not in _DEADLY:
                raise OSError(errno.EINTR, f"its reader was killed by signal {number}", str(path))
            header["corrupt"] = self._deadly[stamp] = (
                "reading it exceeds the time limit"
                if number == signal.SIGPROF
                else f"reading it crashes the HDF5 library (signal {number})"
            )
        if "corrupt" in header:
            raise Corrupt(str(header["corrupt"]))
        return Content(blocks, header["texts"], header["attributes"], bool(header["digest"]))

    def _ask(self, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        # A process forked from this one must not share the pipe.
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            _send(self._process.stdin.fileno(), json.dumps(str(path)).encode())
            return self._receive(time.monotonic() + _PATIENCE)
        except (OSError, ValueError, KeyError, TypeError) as error:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise OSError(
                errno.EIO, f"the process that reads it didn't respond ({error})", str(path)
            ) from error

    def _start(self) -> None:
        if self._process is not None and self._owner == os.getpid():
            self._process.communicate()
        limits = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process, self._owner = (
            subprocess.Popen(
                module_command("rsctl.store.strangers"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                cwd="/", start_new_session=True, env={**os.environ, **limits},
            ),
            os.getpid(),
        )  # fmt: skip

    def _receive(self, until: float) -> tuple[dict[str, Any], dict[str, Any]]:
        header = json.loads(self._exactly(self._length(_HEADER, until), until))
        blocks, left = {}, LARGEST
        for name, kind, shape in header.get("arrays", ()):
            size = math.prod(shape) * np.dtype(kind).itemsize
            if kind not in KINDS or min(shape) < 0 or size > left:
                raise ValueError("an invalid response")
            left -= size
            blocks[name] = np.ndarray(shape, kind, self._exactly(size, until))
        return header, blocks

    def _length(self, most: int, until: float) -> int:
        (length,) = struct.unpack("<Q", self._exactly(8, until))
        if length > most:
            raise ValueError("an invalid response")
        return int(length)

    def _exactly(self, size: int, until: float) -> bytearray:
        assert self._process is not None
        assert self._process.stdout is not None
        pipe, found, at = self._process.stdout.fileno(), bytearray(size), 0
        view = memoryview(found)
        while at < size:
            if not select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError("it took too long")
            count = os.readv(pipe, [view[at:]])
            if not count:
                raise EOFError("it ended")
            at += count
        return found


_HELPER = _Helper()


def read_data_file(path: Path) -> Content:
    """The content of a data file, read in this process only where its digest is right and no other user wrote it.

    Raises Corrupt, FileNotFoundError, or another OSError where it can't be read now.
    """
    for attempt in range(3):
        try:
            data = own_bytes(path)
            break
        except FileNotFoundError:
            if path.is_symlink():
                raise Corrupt("it is a broken link") from None
            raise
        except OSError as error:
            # On a network file system: the file was replaced while it was read.
            if error.errno != errno.ESTALE or attempt == 2:
                raise
            time.sleep(0.05)
    return _HELPER.read(path) if data is None else decode(data, digest=True)


def read_received(path: Path) -> Content:
    """The content of a data file that somebody else made, whoever owns it now: always read in the separate process.

    Raises as `read_data_file` does.
    """
    return _HELPER.read(path)


def _send(pipe: int, *parts: bytes | memoryview) -> None:
    for part in (struct.pack("<Q", len(parts[0])), *parts):
        view = memoryview(part).cast("B")
        while view:
            view = view[os.write(pipe, view) :]


def _answer(path: Path) -> list[bytes | memoryview]:
    """Header and arrays of a file, in the process that may crash."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise Corrupt(f"it has {size:,} bytes; a file without a digest may have at most {LARGEST:,}")
        signal.setitimer(signal.ITIMER_PROF, _COMPUTING + size / 50_000_000)
        data = path.read_bytes()
        digest = has_digest(data[:SIZE], len(data))
        if digest:
            check_digest(data)
        content = decode(data, digest=False)
        arrays = {name: np.ascontiguousarray(array) for name, array in content.arrays.items()}
        header = {
            "arrays": [(name, array.dtype.str, array.shape) for name, array in arrays.items()],
            "texts": content.texts,
            "attributes": content.attributes,
            "digest": digest,
        }
        return [json.dumps(header).encode(), *(array.data for array in arrays.values() if array.size)]
    except Corrupt as problem:
        return [json.dumps({"corrupt": str(problem)}).encode()]
    except MemoryError:
        return [json.dumps({"corrupt": "reading it exceeds the memory limit"}).encode()]
    except OSError as error:
        return [json.dumps({"errno": error.errno or errno.EIO}).encode()]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _serve() -> NoReturn:
    with contextlib.suppress(OSError, ValueError):  # where the system has no such limit, that on time remains
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
    while True:
        (length,) = struct.unpack("<Q", _requested(8))
        _send(1, *_answer(Path(json.loads(_requested(length)))))


def _requested(size: int) -> bytes:
    """The next bytes of stdin; the process ends where there are no more, as whoever made it was killed."""
    found = b""
    while len(found) < size:
        more = os.read(0, size - len(found))
        if not more:
            os._exit(0)
        found += more
    return found


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        child = os.fork()
        if not child:
            _serve()
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return
        _send(1, json.dumps({"signal": os.WTERMSIG(status)}).encode())


if __name__ == "__main__":
    _main()
