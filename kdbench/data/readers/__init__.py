"""Readers: what knows the files of a data set."""
