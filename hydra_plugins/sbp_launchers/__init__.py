"""Launchers for sweeps on SLURM and on Ray, found by Hydra: a job that is killed does not stop the others.

Hydra imports every module here whenever it starts, so submitit and Ray are imported where they are used.
"""
