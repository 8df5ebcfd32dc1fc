"""Prepared data: one folder per data set and size, read through a memory map."""
