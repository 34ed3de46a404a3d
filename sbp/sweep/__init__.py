"""Many runs: the sweep as a parent run, its progress, its processes, what remains to be trained."""
