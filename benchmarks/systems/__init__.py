"""The work of `benchmarks/work.py` in one system each; `python -m benchmarks.systems.NAME BATCHES` prints one line of JSON."""
