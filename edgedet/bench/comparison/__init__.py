"""Two models held against each other: which is faster, and how sure that is."""
