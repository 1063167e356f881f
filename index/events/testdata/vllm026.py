"""The KV events of vLLM 0.26: arrays, the tag first, defaults at the end left out."""
from typing import Any, Union

import msgspec

MEDIA = ["GPU", "CPU", "STORAGE"]


class EventBatch(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    ts: float
    events: list[Any]
    data_parallel_rank: int | None = None


class KVCacheEvent(msgspec.Struct, array_like=True, omit_defaults=True, gc=False, tag=True):
    pass


class BlockStored(KVCacheEvent):
    block_hashes: list[Union[bytes, int]]
    parent_block_hash: Union[bytes, int, None]
    token_ids: list[int]
    block_size: int
    lora_id: int | None
    medium: str | None
    lora_name: str | None
    extra_keys: list[tuple[Any, ...] | None] | None = None
    group_idx: int | None = None
    kv_cache_spec_kind: str | None = None
    kv_cache_spec_sliding_window: int | None = None


class BlockRemoved(KVCacheEvent):
    block_hashes: list[Union[bytes, int]]
    medium: str | None
    group_idx: int | None = None


class AllBlocksCleared(KVCacheEvent):
    pass


class KVEventBatch(EventBatch):
    events: list[Union[BlockStored, BlockRemoved, AllBlocksCleared]]


def hash_of(digest):
    return int.from_bytes(digest[-8:], "big")


def batch(ts, events):
    return KVEventBatch(ts=ts, events=events, data_parallel_rank=0)


def stored(hashes, parent, tokens, size, medium):
    return BlockStored(hashes, parent, tokens, size, None, medium, None, extra_keys=[None] * len(hashes))


def offloaded(h, parent, medium):
    return BlockStored([h], None, [], 0, None, medium, None)


def removed(hashes, medium):
    return BlockRemoved(hashes, medium)
