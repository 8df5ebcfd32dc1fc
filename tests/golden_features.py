"""Lines of the golden table for the losses on feature maps."""

from __future__ import annotations

from collections.abc import Callable

from golden_kit import Differs, Match, Params

TABLE: tuple[tuple[str, str, Callable[[Params], Match | Differs]], ...] = ()
