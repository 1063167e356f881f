// Package msg reads the KV event batches that serving engines publish, in
// msgpack, in every form that they have had.
//
//	batch     = [ts float64 s, [event ...], rank int | nil]     rank may be absent; more elements are skipped
//	positions = [tag, field ...]                                vLLM to 0.26, SGLang to 0.5.18; tail may be absent
//	map       = {"type": tag, name: field ...}                  vLLM from 0.33, newer SGLang; keys in any order
//
//	tag BlockStored       fields in positional order
//	    block_hashes, parent_block_hash, token_ids, block_size, lora_id, medium,
//	    lora_name (vLLM) or a map (SGLang: not looked at), extra_keys, group_idx,
//	    kv_cache_spec_kind, kv_cache_spec_sliding_window, locality, ...
//	tag BlockRemoved      block_hashes, medium, group_idx, locality, ...
//	tag AllBlocksCleared  none
//
// Any field but block_hashes may be nil or absent. Names and elements that are
// not listed are skipped, and so are events with another tag, which are counted.
//
// A hash is an int of any width, negative ones included (SGLang), bin (vLLM with
// byte hashes) or str. Its text in an index is the decimal number, the lower-case
// hex of the bytes, or the str as it is.
//
// Nothing is copied or allocated but a Batch's slab of events: a Batch is a view
// of the payload. All of the payload is checked before the first event is seen.
// Lengths are held against what is left of it, so no payload makes the slab
// larger than a few times itself.
package msg
