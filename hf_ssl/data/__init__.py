"""What the user's datasets are: columns, labels, rows, sources."""
