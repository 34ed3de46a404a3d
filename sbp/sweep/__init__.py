"""Sweeps: which runs need not be repeated, the parent run, the bar over all jobs."""
