"""Programs that measure this package and its peers; `python -m benchmarks` runs the comparisons."""
