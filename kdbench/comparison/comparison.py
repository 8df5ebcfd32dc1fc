"""What `kdbench.compare` gives back: the tables, which show themselves in a notebook and write themselves."""

from __future__ import annotations

from pathlib import Path

from kdbench.comparison.result import ComparedTables


class Comparison(ComparedTables):
    """Methods compared, as tables that can be shown and saved; see `ComparedTables`."""

    def _repr_html_(self) -> str:
        """The main tables, each with its picture of accuracies, for a notebook."""
        from kdbench.comparison.html import fragment

        return fragment(self)

    def save(self, folder: Path) -> list[Path]:
        """Writes every table, format and picture into a folder.

        Raises:
            RunFailed: The folder cannot be written.
        """
        from kdbench.comparison.saving import save

        return save(self, folder)
