"""The part_label `part_name`, for kdbench."""
