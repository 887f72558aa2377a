"""What an edit costs: values, keys, solve, second moments, probes, on the CPU and on a GPU.

`public_memit` is the baseline, MEMIT in the manner of its public code.
"""
