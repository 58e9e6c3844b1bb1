# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: percentiles, how a figure is written, and what /proc says of a family of processes."""
import os


def percentile(values, p):
    """Linear interpolation between the two nearest."""
    values = sorted(values)
    at = (len(values) - 1) * p / 100
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (at - low)


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def children(pid):
    """Of the process, and theirs."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
            for child in f.read().split():
                found += [int(child), *children(int(child))]
    return found


def pss_mib(*pids):
    """Memory of the processes, what they share counted once."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total / 1024
