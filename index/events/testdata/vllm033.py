"""The KV events of vLLM 0.33: maps with a "type", defaults left out; hashes as bytes, self-describing offloads."""
from typing import Any, Union

import msgspec

MEDIA = ["GPU", "CPU", "STORAGE"]


class EventBatch(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    ts: float
    events: list[Any]
    data_parallel_rank: int | None = None


class KVCacheEvent(msgspec.Struct, omit_defaults=True, gc=False, tag=True):
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
    locality: str | None = None
    ownership: str | None = None
    session_id: str | None = None
    lookahead_token_ids: list[int] | None = None


class BlockRemoved(KVCacheEvent):
    block_hashes: list[Union[bytes, int]]
    medium: str | None
    group_idx: int | None = None
    locality: str | None = None
    ownership: str | None = None


class AllBlocksCleared(KVCacheEvent):
    pass


class KVEventBatch(EventBatch):
    events: list[Union[BlockStored, BlockRemoved, AllBlocksCleared]]


def hash_of(digest):
    return digest


def batch(ts, events):
    return KVEventBatch(ts=ts, events=events, data_parallel_rank=0)


def stored(hashes, parent, tokens, size, medium):
    return BlockStored(
        hashes, parent, tokens, size, None, medium, None, extra_keys=[None] * len(hashes), group_idx=0,
        kv_cache_spec_kind="full_attention", session_id="s",
    )


def offloaded(h, parent, medium):
    return BlockStored([h], parent, [1] * 16, 16, None, medium, None, group_idx=0, locality="LOCAL")


def removed(hashes, medium):
    return BlockRemoved(hashes, medium, group_idx=0)
