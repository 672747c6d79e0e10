"""Speed, as ratios: both sides of each in one run, medians of interleaved repetitions.

Each module has ``run(quick) -> list[Row]``. ``python -m benchmarks --help`` tells how to choose.
"""
