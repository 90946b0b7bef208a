"""Batch prediction of large folders, in shards: on one machine or on many."""

from edgedet.runtime.fleet.plan import Plan, make_plan
from edgedet.runtime.fleet.shard import DetectorSettings, ShardResult, ShardWriter

__all__ = ["DetectorSettings", "Plan", "ShardResult", "ShardWriter", "make_plan"]
