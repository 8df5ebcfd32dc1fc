"""Students that have left the house: an export is loaded and asked, without data sets, recipes or runs.

What is imported here needs numpy; onnxruntime, torch and PyAV are imported where an export or a file asks for them.
"""
