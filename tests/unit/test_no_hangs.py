"""What would be waited for without end, or computed for minutes, is refused or answered at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from chain import Chain, tiny, toml

from rsctl.cluster.slurm.failure_reason import _ERROR
from rsctl.cluster.task_logs import LONGEST_LOG, tail
from rsctl.config.sections import fraction
from rsctl.config.sweep import build_sweep, load_sweep
from rsctl.errors import InputError
from rsctl.regular import open_regular, read_regular
from rsctl.report.radius_logs.cells import NotALog
from rsctl.report.radius_logs.import_logs import GivenFacts, import_logs
from rsctl.report.radius_logs.layouts import is_list, numbers_of
from rsctl.report.radius_logs.logs import parse_log
from rsctl.results.printed import half_units
from rsctl.tui.sweeps.log_files import last_error, last_window, size_of

DIGITS = "9" * 1_000_000


def within(seconds: float, work: Callable[[], object]) -> None:
    began = time.monotonic()
    work()
    assert time.monotonic() - began < seconds


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def sock(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (pipe, "a pipe"),
        (sock, "a socket"),
        (folder, "a folder"),
        (lambda _: Path("/dev/zero"), "a device"),
        (lambda _: Path("/dev/tty"), "a device"),
    ],
)
def test_only_regular_files_are_opened(make: Callable[[Path], Path], kind: str, chain: Chain) -> None:
    path = make(chain.folder / "it")
    with pytest.raises(InputError, match=f"is {kind}, where a file is needed"):
        open_regular(path)
    with pytest.raises(InputError, match=kind):
        build_sweep(tiny(method={"name": "checkpoint", "file": str(path)}), "sweep.toml", chain.folder)
    if kind != "a folder":
        [skipped] = import_logs(chain.store, "x", [path], GivenFacts())
        assert skipped.remarks == [f"it is {kind}, where a file is needed"]
    assert size_of(path) == last_window(path).size == -1
    with pytest.raises(InputError, match=kind):
        load_sweep(path, chain.folder)


def test_the_commands_say_so_too(chain: Chain) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rsctl", "check", pipe(chain.folder / "it")],
        capture_output=True,
        timeout=20,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"rsctl: {chain.folder}/it: is a pipe, where a file is needed.\n"


def test_the_kernels_own_files_are_empty_and_large_ones_refused(tmp_path: Path) -> None:
    assert read_regular(Path("/proc/self/environ")) == b""
    (tmp_path / "large").write_bytes(b"12345")
    with pytest.raises(InputError, match="has 5 bytes; a file of this kind has at most 4"):
        read_regular(tmp_path / "large", 4)
    with pytest.raises(InputError, match="not a valid file name"):
        read_regular(tmp_path / "a\0b")


@pytest.mark.parametrize(
    "line",
    [
        'radii = ["1e400000000"]',
        'radii = ["1e-400000000"]',
        'radii = ["1e400"]',
        f'radii = ["{DIGITS}"]',
        f'radii = ["1/{DIGITS}"]',
        f"block = {DIGITS}",
        f"block = 0x{DIGITS}",
        "seed = 12345678901234567890",
    ],
)
def test_numbers_of_any_length_are_answered_at_once(line: str, chain: Chain) -> None:
    file = chain.file(toml(tiny()).replace("block = 50", line))
    with pytest.raises(InputError, match=r"give a number, or a fraction|at most 64 bits|more than 64 bits"):
        within(2, lambda: load_sweep(file, chain.folder))


def test_fractions_stay_what_they_were() -> None:
    assert [fraction(text) for text in ("2/255", "0.5", " 1e-3 ", "1_0")] == [2 / 255, 0.5, 0.001, 10.0]


def test_a_sweep_has_thousands_of_tables_at_most(chain: Chain) -> None:
    methods = tiny(method=[{"name": "gaussian"}] * 20_000)
    with pytest.raises(InputError, match="20,000 points; at most 5,000"):
        build_sweep(methods, "sweep.toml", chain.folder)
    grid = tiny(grid={f"training.lr{i}": [1, 2, 3, 4] for i in range(3000)})
    with pytest.raises(InputError, match="10¹² or more points"):
        build_sweep(grid, "sweep.toml", chain.folder)
    verified = tiny(verification=[{"verifier": "ibp"}] * 5000)
    with pytest.raises(InputError, match="5,001 tables"):
        build_sweep(verified, "sweep.toml", chain.folder)


def test_no_text_makes_a_pattern_slow() -> None:
    within(1, lambda: is_list("1  " * 10_000 + "x"))
    within(1, lambda: is_list("1" + " " * 20_000 + "x"))
    within(1, lambda: half_units([f"{DIGITS}_1"]))
    within(1, lambda: _ERROR.search(b"a" * 8192))
    assert _ERROR.search(b"  File x\nmy.module.SomeError: why\n")[1] == b"SomeError: why"
    with pytest.raises(ValueError, match="too large"):
        numbers_of(f"[{DIGITS}, 1]")
    assert [is_list(cell) for cell in ("[3, 5]", "3  5", "3,5,", "3--5")] == [True, True, True, False]
    header = "idx\tlabel\tpredict\tradius\tcorrect\n"
    for text in (
        "1 " * 600_000 + "x\n",
        f"idx\tlabel\tc{DIGITS[:9999]}\tc1\n0\t1\t1\t2\n",
        f"{header}0\t1\t{'1  ' * 60}x\t1\t1\n",
    ):
        with pytest.raises(NotALog):
            within(2, lambda text=text: parse_log(text))


def test_a_long_log_opens_at_its_end(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    with open(log, "wb") as file:
        file.write(b"ValueError: at the beginning\n" + b"x" * 20_000_000 + b"\n")
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(
            b"\n" + b"a" * 1_000_000 + b"\nRuntimeError: near the end\n" + b"y" * 100_000_000 + b"\nlast\n"
        )
    within(1, lambda: last_window(log))
    assert last_window(log).lines[-1] == "last"
    began = time.monotonic()
    place = last_error(log, size_of(log))
    assert time.monotonic() - began < 5
    with open(log, "rb") as file:
        file.seek(place)
        assert file.readline() == b"RuntimeError: near the end\n"


@pytest.mark.parametrize("text", [b"a", b"errorx", b"tracebac "])
def test_the_last_error_of_hostile_lines_is_looked_for_in_seconds(text: bytes, tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(text * (8_000_000 // len(text)))
    within(3, lambda: last_error(log, size_of(log)))


def test_logs_prints_the_end_of_a_long_log(chain: Chain) -> None:
    chain.plan(tiny())
    run = next(chain.store.runs("models"))
    run.log_file(0).parent.mkdir(parents=True, exist_ok=True)
    with open(run.log_file(0), "wb") as file:
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast line\n")
    told: list[str] = []
    within(1, lambda: tail(run, 0, told.append))
    assert told[0] == f"… the last {LONGEST_LOG:,} of {(1 << 30) + 11:,} bytes of {run.log_file(0)}:\n"
    assert told[-1].endswith("\nlast line\n")
    assert sum(map(len, told[1:])) == LONGEST_LOG


def test_a_whole_system_is_no_folder_of_logs(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsctl.report.radius_logs.import_logs.MOST_FILES", 3)
    for i in range(4):
        (chain.folder / f"{i}.txt").write_text("")
    with pytest.raises(InputError, match="more than 3 files"):
        import_logs(chain.store, "x", [chain.folder], GivenFacts())


@pytest.mark.parametrize("option", [("--width", "100000"), ("--width", "nan"), ("--radius", "inf")])
def test_figures_have_a_width_and_a_radius(option: tuple[str, str], chain: Chain) -> None:
    from rsctl.report.figures.draw import plot

    with pytest.raises(InputError, match=f"{option[0]}: "):
        plot(chain.store, "tiny", Path("x.pdf"), **{option[0][2:]: float(option[1])})


def test_kernels_of_many_sizes_are_no_published_network() -> None:
    torch = pytest.importorskip("torch")
    from jobs.checkpoints.generic_layers import geometries

    layers = [torch.empty(1, 1, size, size) for size in range(3, 29)] + [torch.empty(10, 7)]
    within(1, lambda: geometries(layers, 8))
    assert geometries(layers, 8) == []


def test_what_is_no_folder_is_no_store_and_no_data_root(chain: Chain) -> None:
    """And nobody is told to change the mode of a device."""
    os.mkfifo(chain.folder / "pipe")
    for place in ("/dev/zero", str(chain.folder / "pipe")):
        done = chain.cli("status", RSCTL_STORE=place)
        assert done.code == 2
        assert f"{place} is a file, not a folder" in done.err
        done = chain.cli("doctor", RSCTL_DATA=place)
        assert "is not a folder" in done.out
        assert "chmod" not in done.out
