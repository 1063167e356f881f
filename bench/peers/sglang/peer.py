"""SGLang's file backend of HiCache, without an engine."""

import os
import sys
from importlib.metadata import version

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
from chunks import arguments, measure  # noqa: E402
from peerline import guard, leave  # noqa: E402


class Store:
    """HiCacheFile: a file for each page, one after the other."""

    def __init__(self, home, chunk, chunks):
        from sglang.srt.mem_cache.hicache_storage import HiCacheFile, HiCacheStorageConfig

        self.backend = HiCacheFile(
            HiCacheStorageConfig(
                tp_rank=0, tp_size=1, pp_rank=0, pp_size=1, attn_cp_rank=0, attn_cp_size=1, is_mla_model=False,
                enable_storage_metrics=False, is_page_first_layout=True, model_name="bench",
                extra_config={"file_storage_path": home},
            )
        )
        self.keys = [f"{i:064x}" for i in range(chunks)]

    @staticmethod
    def _tensors(views):
        import torch

        return [torch.frombuffer(v, dtype=torch.bfloat16) for v in views]

    def put(self, views):
        """Stores all chunks."""
        if not self.backend.batch_set(self.keys, self._tensors(views)):
            raise OSError("batch_set failed")

    def get(self, views):
        """Loads all chunks."""
        if any(t is None for t in self.backend.batch_get(self.keys, self._tensors(views))):
            raise OSError("batch_get missed a page")


def main():
    a = arguments(__doc__)
    with guard("op=put/store=sglang-file", "sglang"):
        says = f"sglang {version('sglang')}"
        measure(a, "sglang-file", says, "buffered, one thread, no fsync, no checksum", Store)
    leave()


if __name__ == "__main__":
    main()
