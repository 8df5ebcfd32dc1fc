"""Search of a method's settings on a validation part, under a budget that the result carries.

`searching` holds `kdbench.search`; `space` what is tried, `choosers` who proposes it and who stops a trial, `studies`
the study that workers share, `database`, `storage` and `patience` where it lies and what happens while that is away,
`trial` one trial, `work` the loop and the workers, `report` what is left behind.
"""
