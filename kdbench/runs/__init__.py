"""One run: what it is of, how it is made, where it lies, and how it is found again."""
