"""The dashboard over a large store while shards change: first paint, key to screen, memory, idle CPU.

    python tests/benchmarks/dashboard.py [--runs 200] [--shards 50] [--images 5000] [--store FOLDER] [--json]

The store is made by the real writers (a few minutes for a million rows; `--store` keeps and reuses it). A
process of its own replaces 20 shards a second while the dashboard runs in a pseudo-terminal of 160x48.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import numpy as np

LIMITS = {"first_paint_s": 1.0, "key_p95_ms": 50.0, "rss_mb": 250.0, "idle_cpu_percent": 10.0}
CHANGES_PER_SECOND = 20
SIZE = (48, 160)


class Terminal:
    """The dashboard in a pseudo-terminal."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.started = time.monotonic()
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.execvpe(sys.executable, [sys.executable, "-m", "rsctl"], environment)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))

    def read(self, seconds: float) -> bytes:
        """What is written within this time, at least the first piece of it."""
        ready, _, _ = select.select([self.descriptor], [], [], max(0.0, seconds))
        try:
            return os.read(self.descriptor, 1 << 16) if ready else b""
        except OSError:  # the other end is gone
            return b""

    def until(self, wanted: bytes, seconds: float) -> float:
        """Seconds since the start when this text was on the screen."""
        seen, end = b"", time.monotonic() + seconds
        while wanted not in seen:
            if time.monotonic() > end:
                raise SystemExit(f"{wanted!r} did not appear within {seconds:.0f} s; last: {seen[-400:]!r}")
            seen = (seen + self.read(0.5))[-200_000:]
        return time.monotonic() - self.started

    def drain(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.read(left)

    def quiet(self) -> None:
        """Wait for a moment in which nothing is written."""
        while self.read(0.02):
            pass

    def press(self, key: bytes) -> float:
        """Milliseconds from a key to the first write of the screen."""
        self.quiet()
        before = time.monotonic()
        os.write(self.descriptor, key)
        if not self.read(5.0):
            raise SystemExit(f"key {key!r} changed nothing on the screen")
        return 1000 * (time.monotonic() - before)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def prepare(root: Path, runs: int, images: int, shards: int) -> None:
    """The store, unless it is there; its shards stay shards."""
    if (root / "sweeps").is_dir():
        return
    from synthetic import make_store

    print(f"making {runs} runs of {images} images in {shards} shards …", file=sys.stderr)
    make_store(root, runs, images, shards)


def change(root: Path) -> None:
    """Replace `CHANGES_PER_SECOND` shards a second, and say so in their attempts, until killed."""
    from synthetic import write_shard

    from rsctl.store.attempts import Claim, here
    from rsctl.store.layout import Store

    random = np.random.default_rng(1)
    counts = list(Store(root).runs("counts"))
    claims: dict[tuple[str, int], Claim] = {}
    started = time.monotonic()
    for step in range(10**9):
        # Two runs of which every task is at work, like a sweep's last ones.
        run = counts[step % 2]
        numbers = run.task_numbers()[:20]
        number = numbers[(step // 2) % len(numbers)]
        if (run.id, number) not in claims:
            claims[run.id, number] = Claim.take(run, number, {**here(), "threads": 1})
        claim, images = claims[run.id, number], run.images(number)
        write_shard(run, number, claim.number, images, random)
        claim.write("progress", done=step % len(images), total=len(images), unit="images", rate=10.0)
        time.sleep(max(0.0, started + (step + 1) / CHANGES_PER_SECOND - time.monotonic()))


def measure(root: Path) -> dict[str, float]:
    settings = root.parent / "empty-rsctl.toml"
    settings.write_text("")
    environment = {
        **os.environ, "RSCTL_STORE": str(root), "RSCTL_CONFIG": str(settings), "TERM": "xterm-256color", "COLORTERM": "truecolor",
    }  # fmt: skip
    changer = subprocess.Popen([sys.executable, __file__, "--change", str(root)])
    terminal = Terminal(environment)
    found: dict[str, float] = {}
    try:
        found["first_paint_s"] = terminal.until(b"Sweeps", 60)
        found["first_paint_cpu_s"] = terminal.cpu_seconds()
        found["all_runs_shown_s"] = terminal.until(b"live", 300)
        terminal.drain(15)
        keys = [b"j", b"k", b"\x1b[6~", b"\x1b[5~", b"\x1b[B", b"\x1b[A"]
        before = terminal.cpu_seconds()
        times = [terminal.press(key) for _ in range(20) for key in keys]
        found["key_cpu_ms"] = 1000 * (terminal.cpu_seconds() - before) / len(times)
        found["key_median_ms"], found["key_p95_ms"] = (float(np.percentile(times, q)) for q in (50, 95))
        terminal.press(b"2")
        terminal.drain(40)
        times = [terminal.press(key) for _ in range(20) for key in (b"j", b"k")]
        found["results_key_p95_ms"] = float(np.percentile(times, 95))
        found["rss_mb"] = terminal.rss_mb()
        terminal.press(b"1")
        terminal.drain(5)
        before, started = terminal.cpu_seconds(), time.monotonic()
        terminal.drain(20)
        found["changing_cpu_percent"] = 100 * (terminal.cpu_seconds() - before) / (time.monotonic() - started)
        changer.send_signal(signal.SIGTERM)
        changer.wait()
        terminal.drain(5)
        before, started = terminal.cpu_seconds(), time.monotonic()
        terminal.drain(20)
        found["idle_cpu_percent"] = 100 * (terminal.cpu_seconds() - before) / (time.monotonic() - started)
        started = time.monotonic()
        os.write(terminal.descriptor, b"q")
        while os.waitpid(terminal.pid, os.WNOHANG) == (0, 0):
            terminal.read(0.05)
        found["leaving_s"] = time.monotonic() - started
    finally:
        if changer.poll() is None:
            changer.kill()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("runs", 200), ("shards", 50), ("images", 5000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--change", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    if options.change:
        change(options.change)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = options.store or Path(folder) / "runs"
        prepare(root.absolute(), options.runs, options.images, options.shards)
        found = measure(root.absolute())
    load = os.getloadavg()[0]
    if options.json:
        print(json.dumps({**found, "load": load, "limits": LIMITS}))
        return
    print(f"{options.runs} runs x {options.shards} shards, {options.runs * options.images:,} rows; load {load:.1f} on {os.cpu_count()} cores")  # fmt: skip
    for name, value in found.items():
        limit = LIMITS.get(name)
        told = "" if limit is None else f"limit {limit:g}" + ("" if value <= limit else "  EXCEEDED")
        print(f"{name:22} {value:10.2f}   {told}")


if __name__ == "__main__":
    main()
