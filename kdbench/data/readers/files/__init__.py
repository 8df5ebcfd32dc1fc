"""The reader of one's own recordings: files of streams, described by a card and by no Python."""
