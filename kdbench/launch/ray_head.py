"""Whether the head of a Ray cluster is still there.

Ray ends a process whose cluster has no head for a minute, in the middle of whatever it does and without asking it. So
the head is looked for here, and what is to be said is said before.
"""

from __future__ import annotations

import socket
import time

_LOOK_SECONDS = 3.0
_ANSWER_SECONDS = 2.0
GIVEN_UP_SECONDS = 40.0
"""Ray gives up after 60 s; a head that is started again with its state in Redis comes back before."""


class Head:
    """The head of a cluster, which is asked for an answer every few seconds.

    Args:
        address: `HOST:PORT`; None where it cannot be asked, as behind a Ray client.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._looked = time.monotonic()
        self._silent_since: float | None = None

    @property
    def is_lost(self) -> bool:
        """Whether it has not answered for too long."""
        now = time.monotonic()
        if self._address is not None and now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            if answers(self._address):
                self._silent_since = None
            elif self._silent_since is None:
                self._silent_since = now
        return self._silent_since is not None and self._looked - self._silent_since >= GIVEN_UP_SECONDS


def answers(address: str, seconds: float = _ANSWER_SECONDS) -> bool:
    """Whether somebody listens at `HOST:PORT`."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=seconds):
            return True
    except OSError:
        return False
