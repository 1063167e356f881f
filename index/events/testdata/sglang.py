"""The KV events of SGLang to 0.5.18: arrays, hashes as signed 64-bit numbers, a map of metadata where vLLM has a name."""
from typing import Any, Optional, Union

import msgspec

MEDIA = ["GPU", "CPU_PINNED", "DISK", "EXTERNAL"]


class EventBatch(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    ts: float
    events: list[Any]
    attn_dp_rank: Optional[int] = None


class KVCacheEvent(msgspec.Struct, array_like=True, omit_defaults=True, gc=False, tag=True):
    pass


class BlockStored(KVCacheEvent):
    block_hashes: list[int]
    parent_block_hash: Optional[int]
    token_ids: list[int]
    block_size: int
    lora_id: Optional[int]
    medium: Optional[str] = None
    metadata: Optional[dict[str, Any]] = None


class BlockRemoved(KVCacheEvent):
    block_hashes: list[int]
    medium: Optional[str] = None


class AllBlocksCleared(KVCacheEvent):
    pass


class KVEventBatch(EventBatch):
    events: list[Union[BlockStored, BlockRemoved, AllBlocksCleared]]


def hash_of(digest):
    return int.from_bytes(digest[:8], "big", signed=True)


def batch(ts, events):
    return KVEventBatch(ts=ts, events=events)


def stored(hashes, parent, tokens, size, medium):
    return BlockStored(hashes, parent, tokens, size, None, medium, {"cache_salt": "x"} if parent is None else None)


def offloaded(h, parent, medium):
    return BlockStored([h], parent, [1] * 16, 16, None, medium)


def removed(hashes, medium):
    return BlockRemoved(hashes, medium)
