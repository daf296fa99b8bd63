"""Adding and removing the methods, verifiers, attacks and cascades of the draft."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rsctl.tui.compose.draft import LISTS

if TYPE_CHECKING:
    from rsctl.tui.compose.screen import ComposeScreen


class TableActions:
    """Changes the tables that may occur several times."""

    def __init__(self, screen: ComposeScreen) -> None:
        self._screen, self._work = screen, screen.work

    def add(self) -> None:
        """Add a method to the sweep."""
        if (composed := self._screen.composed) is None:
            return
        fields = (field for section in composed.sections for field in section.fields)
        options = next((field.options for field in fields if field.key == "method.0.name"), ())
        if options:
            self._add("method", "Add a method", options)
        elif not self._work.draft.methods:
            self._work.draft.methods.append({})
            self._screen.check()

    def add_verifier(self) -> None:
        """Add a verifier for every model of the sweep."""
        if self._screen.composed is not None:
            self._add("verification", "Add a verifier", self._screen.composed.tables["verification"])

    def add_attack(self) -> None:
        """Add an attack on every model of the sweep."""
        if self._screen.composed is not None:
            self._add("attack", "Add an attack", self._screen.composed.tables["attack"])

    def add_cascade(self) -> None:
        """Add a cascade of the sweep's first noise levels."""
        draft = self._work.draft
        sigmas, in_grid = draft.get("sigma")
        levels = list(sigmas[:2]) if in_grid and len(sigmas) > 1 else [0.25, 0.5]
        draft.tables("cascade").append({"levels": levels, "tau": 0.9})
        self._screen.check()

    def _add(self, key: str, title: str, options: tuple[tuple[str, str], ...]) -> None:
        def take(name: str) -> None:
            self._work.draft.tables(key).append({LISTS[key]: name})
            self._screen.check()

        self._screen.choose(title, options, take, about=self._screen.about(key))

    def remove(self) -> None:
        """Remove the method, verifier, attack or cascade under the cursor."""
        field = self._screen.field()
        key, _, rest = field.key.partition(".") if field else ("", "", "")
        if key not in LISTS or not rest:
            self._screen.report("Move the cursor to a field of a method, verifier, attack or cascade first.")
        elif key == "method" and len(self._work.draft.methods) < 2:
            self._screen.report("A sweep needs at least one method.")
        else:
            del self._work.draft.tables(key)[int(rest.split(".")[0])]
            self._screen.check()
