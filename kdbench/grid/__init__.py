"""Many runs at once: methods × data sets × protocols × seeds, planned, estimated, and made one process per run.

`suite` says what is wanted, `plan` which runs that means and how each stands, `estimate` what they cost, `execute`
makes them through a launcher (`launch`), `show` tells a person.
"""
