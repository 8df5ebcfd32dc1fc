"""Where programs of kdbench run: the runs of a grid, the workers of a search; `launcher` names the places."""
