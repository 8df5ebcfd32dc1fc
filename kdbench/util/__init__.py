"""Files, folders, YAML, processes and progress: what any program of this size needs."""
