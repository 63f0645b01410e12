"""The trainer's parts, in the order in which a training meets them.

`start` checks arguments, makes the datasets ready and searches for duplicates; `trial` refuses what cannot be trained
by trying one small step; `optimization` says how fast each weight learns, and when; `log_sums` adds up what a log line
shows; `watch` stops or warns; `evaluation` reads the model's answers; `checkpointing` evaluates, saves and resumes,
with the files that `checkpoint_files` describes, in folders that `checkpoint_folders` keeps whole or absent and
`checksums` protects.
"""
