"""What people read of a run.

`run` holds the facts of a run and the block that is printed at its start, `results` the file results.json, and
`tables` and `plots` show several runs side by side.
"""
