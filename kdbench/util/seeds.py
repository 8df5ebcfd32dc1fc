"""Seeds as a pure function of names, so that what must be paired is paired.

The order of the data depends on (dataset, protocol, seed, epoch) and never on the method; two methods at
one seed therefore see the same trials in the same order, and a resumed run continues as if it had not stopped.
"""

from __future__ import annotations

import hashlib


def seed_for(*names: str | int) -> int:
    """Derives a 63-bit seed from an ordered list of names.

    Example:
        `seed_for("order", "utd_mhad", "cross_subject", 0, epoch)`
    """
    # With types and a separator that no name holds, so that 1 and "1" differ, and ("a", "bc") and ("ab", "c").
    text = "\x1f".join(f"{type(name).__name__}:{name}" for name in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
