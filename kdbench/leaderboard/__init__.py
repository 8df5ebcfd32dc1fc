"""The leaderboard: submissions that anyone can score again, and the static site that is made of them.

`schema` says what a submission is, `entry` where it lies and how it is named; `add` makes one of finished runs,
`verify` scores it again, `rerun` trains it again; `tables` groups what may be ranked together, `build` makes the site.
"""
