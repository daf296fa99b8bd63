"""Options that several commands on results share, and the store that they read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rsctl.cli.common import tell

if TYPE_CHECKING:
    from rsctl.store.layout import Store

Methods = Annotated[
    list[str] | None, typer.Option("--method", metavar="NAME", help="Only rows of this method; may be repeated.")
]  # fmt: skip
Sigmas = Annotated[
    list[float] | None, typer.Option("--sigma", help="Only rows at this noise level; may be repeated.")
]
OtherCertificate = Annotated[
    str, typer.Option("--certificate", help="Use another certificate on the same counts.")
]
OtherAlpha = Annotated[
    float | None, typer.Option("--alpha", help="Use another failure probability on the same counts.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite the file, whatever it is.")]


def open_store() -> Store:
    """Return the store of the current settings, and warn of plugins that can't be used."""
    from rsctl.catalog import plugin_problems
    from rsctl.config.settings import load_settings
    from rsctl.store.layout import Store

    store = Store(load_settings().store)
    tell(plugin_problems())
    return store
