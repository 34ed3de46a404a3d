"""Files, signals and progress: what every other package may need, and nothing else."""
