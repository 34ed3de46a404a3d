"""Data sets: sources, layouts on the disk, splits, the cache, batches."""
