"""Installs this version of rsctl on another machine, in an environment of its own."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass

from rsctl import __version__
from rsctl.config.remotes import Remote
from rsctl.errors import UnavailableError
from rsctl.plain import plain
from rsctl.remote.bundles import Bundle, send
from rsctl.remote.connection import Connection, shell_path
from rsctl.remote.detached import claimed
from rsctl.remote.wheel import build_wheel

NO_PYTHON, NO_PACKAGES = 90, 91
"""Exit codes of the script: no suitable Python, and pip couldn't install."""
_INSTALL = """\
cd {base} || exit 1
exec 8>setup.lock && flock 8 || exit 1
recent() {{ "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }}
for python in {pythons}; do recent "$python" && break; python=; done
[ -n "$python" ] || exit {no_python}
mkdir -p environments
made=environments/{key}
if [ ! -e "$made/complete" ]; then
  rm -rf "$made"
  "$python" -m venv "$made" || exit {no_python}
  {visible}
  echo "installing rsctl {version} and its requirements; PyTorch alone is some GB" >&2
  install="./$made/bin/python -m pip install --quiet --disable-pip-version-check"
  $install {wheel} >&2 && $install --no-deps --no-index --force-reinstall {wheel} >&2 || exit {no_packages}
  "$made/bin/rsctl" --version >/dev/null || exit {no_packages}
  : >"$made/complete"
fi
ln -s "$made/bin/rsctl" "rsctl.$$" && mv -T "rsctl.$$" rsctl
"""
_VISIBLE = (
    '"$python" -c \'import sys; print(*[path for path in sys.path if path.endswith("-packages")], sep="\\n")\''
    ' >"$("$made/bin/python" -c \'import sysconfig; print(sysconfig.get_path("purelib"))\')/packages-of-python.pth"'
)
"""Makes the packages of the given Python visible, whether it is a system's, a module's or an environment's."""


@dataclass(frozen=True)
class Installed:
    """The rsctl of a remote."""

    version: str
    store: str
    sweeps: int


def install(connection: Connection) -> None:
    """Build a wheel, bring it there and install it; goes on without the connection, and a repeated call follows it.

    Raises
    ------
    UnavailableError
        There is no Python 3.10, or pip can't install the requirements.
    """
    connection.open()
    name, data = build_wheel()
    bundle = Bundle({name: data})
    send(connection, [bundle])
    remote = connection.remote
    pythons = (
        [remote.python]
        if remote.python
        else [f"python3{minor}" for minor in ("", ".14", ".13", ".12", ".11", ".10")]
    )
    script = "\n".join(f"{{ {line}\n}} >&2" for line in remote.setup) + "\n" + _INSTALL.format(
        base=shlex.quote(connection.base), pythons=" ".join(shell_path(one) for one in pythons),
        key=hashlib.sha256(f"{bundle.id}\0{remote.python}".encode()).hexdigest()[:16],
        wheel=shlex.quote(bundle.path(connection.base, name)), version=__version__, visible=_VISIBLE if remote.python else ":",
        no_python=NO_PYTHON, no_packages=NO_PACKAGES,
    )  # fmt: skip
    code = claimed(connection, script, ["remote", "setup", connection.name]).run()
    if code:
        raise UnavailableError(f"{connection.name}: {_reason(code, connection)}")


def _reason(code: int, connection: Connection) -> str:
    name = connection.name
    if code == NO_PYTHON:
        wanted = connection.remote.python or "python3"
        return (
            f"{wanted} there isn't a Python of 3.10 or newer with venv and pip. Set remotes.{name}.python to the path of one, and "
            f'remotes.{name}.setup to what makes it available, such as "module load python".'
        )
    if code == NO_PACKAGES:
        return (
            "pip couldn't install the requirements there; its reason is above. Without internet there, set "
            f"remotes.{name}.python to a Python that has them (a module, a conda environment: PyTorch and the others in pyproject.toml), or "
            f'let pip use a mirror or a folder of wheels (PIP_INDEX_URL, PIP_FIND_LINKS in remotes.{name}.setup: "export …"). '
            f"Then repeat the command: it goes on."
        )
    return (
        f"the installation ended with exit code {code}; the reason is above. Repeat the command: it goes on."
    )


def installed(connection: Connection) -> Installed:
    """Return the rsctl of a remote, with its store and the number of its sweeps; raises UnavailableError."""
    connection.open()
    script = f'{connection.environment()}\n"$rsctl" --version && "$rsctl" status --json'
    try:
        version, _, values = connection.output(script).partition("\n")
        found = json.loads(values)
        return Installed(plain(version, 40), plain(str(found["store"])), len(found["sweeps"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UnavailableError(
            f"{connection.name}: {connection.remote.rsctl} there is not an rsctl that this version knows."
        ) from error


def link_path(remote: Remote, connection: Connection) -> str:
    """The command that `install` made, where rsctl.toml names another; else empty."""
    default = Remote.model_fields["rsctl"].default
    return "" if remote.rsctl == default else f"{connection.base}/rsctl"
