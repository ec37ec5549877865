"""Fewer points for the same picture: what a column of dots shows of many points is their least and their largest."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def decimated(places: Sequence[float], values: Sequence[float], buckets: int) -> list[int]:
    """Indices of the points to draw, growing: at most three for each bucket, the first and the last.

    The buckets are of one length along ``places``, which grow. Of each stay the least and the largest of its finite values
    and the first that is not finite.
    """
    count = len(places)
    if count <= 2 or count <= buckets:
        return list(range(count))
    kept = {0, count - 1}
    for start, end in pairwise(_edges(places, max(1, buckets))):
        kept.update(_of_bucket(values, start, end))
    return sorted(kept)


def _edges(places: Sequence[float], buckets: int) -> list[int]:
    """Indices at which a bucket begins, and the end."""
    first, width = places[0], (places[-1] - places[0]) / buckets
    if not width > 0:
        return [0, len(places)]
    edges, current = [0], 0
    for index, place in enumerate(places):
        bucket = min(buckets - 1, int((place - first) / width))
        if bucket > current:
            edges.append(index)
            current = bucket
    return [*edges, len(places)]


def _of_bucket(values: Sequence[float], start: int, end: int) -> set[int]:
    finite = [index for index in range(start, end) if abs(values[index]) < float("inf")]
    kept = set()
    if finite:
        kept = {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
    if len(finite) < end - start:
        there = set(finite)
        kept.add(next(index for index in range(start, end) if index not in there))
    return kept
