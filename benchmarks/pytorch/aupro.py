"""AUPRO in plain PyTorch, to be timed by benchmarks/metrics.ts. Needs torch and numpy.

  python aupro.py MAPS.f32 REGIONS.i32 LIMIT

MAPS holds float32 scores, REGIONS for each pixel 0 (normal) or the number of its defect region. Every line on stdin names
an algorithm; the answer on stdout is one JSON line {"ms", "aupro", "peakMiB"}: processor time,
and the memory beyond that of the inputs.

  regions  as anomalib documents its AUPRO: one ROC curve for every region against all normal pixels, each with a sort;
           brought to one grid of false-positive rates, averaged, integrated up to the limit.
  sort     the same curve from a single sort: every pixel of a region weighs 1 / (area x regions).
"""

import json
import resource
import sys
import time

import numpy
import torch


def last_of_ties(scores):
    """Where equal scores end, in sorted scores: thresholds lie only there."""
    return torch.nonzero(torch.cat([scores[1:] != scores[:-1], scores.new_ones(1, dtype=torch.bool)])).flatten()


def area(fpr, overlap, limit):
    """Under the piecewise linear curve from (0, 0), up to `limit`, divided by it."""
    fpr = torch.cat([fpr.new_zeros(1), fpr])
    overlap = torch.cat([overlap.new_zeros(1), overlap])
    end = int(torch.searchsorted(fpr, torch.tensor([limit], dtype=fpr.dtype), right=True))
    inside = torch.trapezoid(overlap[:end], fpr[:end])
    if end < len(fpr) and fpr[end - 1] < limit:
        share = (limit - fpr[end - 1]) / (fpr[end] - fpr[end - 1])
        at_limit = overlap[end - 1] + share * (overlap[end] - overlap[end - 1])
        inside = inside + (limit - fpr[end - 1]) * (overlap[end - 1] + at_limit) / 2
    return float(inside / limit)


def roc(scores, positive):
    scores, order = torch.sort(scores, descending=True)
    ends = last_of_ties(scores)
    hits = torch.cumsum(positive[order], 0, dtype=torch.float64)[ends]
    return (ends + 1 - hits) / (len(scores) - hits[-1]), hits / hits[-1]


def by_regions(maps, regions, limit):
    normal = regions == 0
    total, grid = 0, None
    count = int(regions.max())
    for region in range(1, count + 1):
        chosen = normal | (regions == region)
        fpr, tpr = roc(maps[chosen], regions[chosen] == region)
        # The highest overlap reached at each false-positive rate; then linear, on the first region's grid.
        grid = torch.unique(fpr) if grid is None else grid
        at = torch.searchsorted(fpr, grid, right=True).clamp(1, len(fpr)) - 1
        total = total + tpr[at]
    return area(grid, total / count, limit)


def by_one_sort(maps, regions, limit):
    sizes = torch.bincount(regions)
    weights = 1 / (sizes.to(torch.float64) * (len(sizes) - 1))
    weights[0] = 0
    scores, order = torch.sort(maps, descending=True)
    ends = last_of_ties(scores)
    sorted_regions = regions[order]
    fpr = torch.cumsum(sorted_regions == 0, 0)[ends] / sizes[0].to(torch.float64)
    overlap = torch.cumsum(weights[sorted_regions], 0)[ends]
    return area(fpr, overlap, limit)


def main():
    torch.set_num_threads(1)
    maps = torch.from_numpy(numpy.fromfile(sys.argv[1], dtype=numpy.float32))
    regions = torch.from_numpy(numpy.fromfile(sys.argv[2], dtype=numpy.int32))
    limit = float(sys.argv[3])
    inputs = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for line in sys.stdin:
        start = time.process_time()
        value = {"regions": by_regions, "sort": by_one_sort}[line.strip()](maps, regions, limit)
        ms = (time.process_time() - start) * 1000
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - inputs) / 1024
        print(json.dumps({"ms": ms, "aupro": value, "peakMiB": peak}), flush=True)


main()
