"""What exists for the speed of a CPU alone: each piece has a switch, a benchmark and a measured gain.

With every switch off, PyTorch's own way computes the same values and gradients. A piece that gains less than 5 % of a
step in the case it is made for has no place here.
"""
