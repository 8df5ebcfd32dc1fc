"""Search of a method's settings on a validation part, under a budget that the result carries.

`searching` holds `kdbench.search`; `space` what is tried, `choosers` who proposes it and who stops a trial, `studies`
the database that workers share, `trial` one trial, `work` the loop and the workers, `report` what is left behind.
"""
