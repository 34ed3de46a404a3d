"""The version of what the code computes."""

RESULTS_VERSION = 2
"""Part of every run's fingerprint: runs of another version are not taken for the same.

Raise it by one when the same config gives other results (other weights, scores or metrics), and record the
golden values anew (`make golden`). Moving, renaming or tidying code leaves it alone, so that what was
recorded stays valid. The golden tests (tests/run/test_golden.py) fail if results change and it does not.
"""
