"""A skeleton as a data set of its own: the same trials, with the joints for their one series.

It has a store of its own, so that nothing of the sensors' or the video's depends on whether a network sees joints.
"""

from __future__ import annotations

from kdbench.data.readers.base import Reader, Recording, Trial
from kdbench.errors import unknown


class SkeletonReader(Reader):
    """Reads one skeleton of a data set as if it were all that there is.

    Args:
        reader: The data set's own.
        name: The skeleton.

    Raises:
        UsageError: The data set has no such skeleton.
    """

    def __init__(self, reader: Reader, name: str) -> None:
        card = reader.card
        if name not in card.skeletons:
            raise unknown(
                "skeleton",
                name,
                card.skeletons,
                of=f"data set '{card.name}'",
                hint=f"See them: kdbench describe {card.typed}",
            )
        super().__init__(card, reader.root, reader.options)
        self.reader = reader
        self.name = name
        derived = card.model_copy(update={"sensors": {name: card.skeletons[name].sensor}, "views": {}})
        self.card = derived
        self.excluded, self.unverified = reader.excluded, reader.unverified

    def trials(self) -> list[Trial]:
        """See `Reader.trials`."""
        return self.reader.trials()

    def lacks(self, trial: Trial) -> frozenset[str]:
        """See `Reader.lacks`."""
        return self.reader.lacks(trial) & {self.name}

    def remarks(self) -> list[str]:
        """See `Reader.remarks`."""
        return self.reader.remarks()

    def files(self, trial: Trial, view: str | None) -> tuple[str, ...]:  # noqa: ARG002
        """See `Reader.files`."""
        return self.reader.skeleton_files(trial, self.name)

    def read(self, trial: Trial, view: str | None, frames: int) -> Recording:  # noqa: ARG002
        """See `Reader.read`."""
        return self.reader.read_skeleton(trial, self.name)
