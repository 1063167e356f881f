"""A real vLLM on the CPU that publishes KV events: what scripts/check-vllm runs.

usage: vllm-engine.py ENDPOINT FOLDER

A small Llama with random weights generates with few blocks, so that it evicts,
and drops its prefix cache. Behind each phase a line "KVFERRY {json}" says which
blocks the engine itself has in its prefix cache, and a line on standard input
lets it go on. An engine in this process steps only inside generate(), so each
phase ends with a request of one token, which takes no whole block.
"""
import json
import os
import sys

os.environ.update(
    HF_HUB_OFFLINE="1", VLLM_CPU_KVCACHE_SPACE="1", VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1",
    VLLM_ENABLE_V1_MULTIPROCESSING="0", OMP_NUM_THREADS="1", VLLM_LOGGING_LEVEL="ERROR",
)
from vllm import LLM, SamplingParams
from vllm.config import KVEventsConfig
from vllm.inputs import TokensPrompt
from vllm.v1.core.kv_cache_utils import get_block_hash, maybe_convert_block_hash

CONFIG = dict(
    architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=64, intermediate_size=128, num_hidden_layers=2,
    num_attention_heads=2, num_key_value_heads=2, head_dim=32, vocab_size=512, max_position_embeddings=512,
    rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu", attention_bias=False, mlp_bias=False,
    tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, torch_dtype="bfloat16",
)
BLOCK = 32


def prompt(seed, tokens):
    return [1] + [(i * 7919 + seed * 104729 + 13) % 500 + 5 for i in range(tokens - 1)]


def main():
    endpoint, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(CONFIG, f)
    llm = LLM(
        model=folder, load_format="dummy", dtype="bfloat16", enforce_eager=True, skip_tokenizer_init=True, max_model_len=512,
        block_size=BLOCK, max_num_seqs=4, seed=0, num_gpu_blocks_override=40, enable_prefix_caching=True,
        kv_events_config=KVEventsConfig(enable_kv_cache_events=True, publisher="zmq", endpoint=endpoint, topic="kv"),
    )
    pool = llm.llm_engine.engine_core.engine_core.scheduler.kv_cache_manager.block_pool

    def generate(prompts, tokens):
        sampling = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False)
        return llm.generate([TokensPrompt(prompt_token_ids=p) for p in prompts], sampling, use_tqdm=False)

    def tell(phase, **more):
        generate([[1]], 1)
        blocks = sorted({str(maybe_convert_block_hash(get_block_hash(k))) for k in pool.cached_block_hash_to_block._cache})
        print("KVFERRY " + json.dumps(dict(phase=phase, blocks=blocks, **more)), flush=True)
        if not sys.stdin.readline():
            sys.exit(1)

    tell("start")
    generate([prompt(1, 241)], 64)
    tell("generated")
    hit = generate([prompt(1, 241)[:161] + prompt(2, 81)], 16)[0].num_cached_tokens
    tell("shared", cached_tokens=hit)
    for i in range(12):
        generate([prompt(10 + i, 257)], 8)
    tell("evicted")
    generate([prompt(30 + i, 129) for i in range(4)], 40)
    tell("several")
    assert llm.reset_prefix_cache()
    tell("reset")
    generate([prompt(1, 241)], 64)
    tell("again")


if __name__ == "__main__":
    main()
