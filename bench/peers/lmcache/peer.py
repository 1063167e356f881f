"""LMCache's LocalDiskBackend and its native file connector (fs_native), without
an engine. Both write with O_DIRECT here; by default they do not.
"""

import asyncio
import os
import select
import sys
import threading
from importlib.metadata import version

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
from chunks import arguments, measure  # noqa: E402
from peerline import guard, leave  # noqa: E402

os.environ.setdefault("LMCACHE_LOG_LEVEL", "ERROR")
os.environ.setdefault("LMCACHE_TRACK_USAGE", "false")


class LocalDisk:
    """The backend that its engines use: a file for each chunk, keys in memory."""

    def __init__(self, home, chunk, chunks):
        import torch
        from lmcache.utils import CacheEngineKey
        from lmcache.v1.config import LMCacheEngineConfig
        from lmcache.v1.memory_management import MemoryFormat
        from lmcache.v1.metadata import LMCacheMetadata
        from lmcache.v1.storage_backend.local_cpu_backend import LocalCPUBackend
        from lmcache.v1.storage_backend.local_disk_backend import LocalDiskBackend

        gib = chunk * chunks / 2**30
        # One layer and one head, so that a chunk may have any size.
        tokens = 16
        width = chunk // 2 // 2 // tokens
        config = LMCacheEngineConfig.from_defaults(
            chunk_size=tokens, local_cpu=False, max_local_cpu_size=2.5 * gib + 0.2, local_disk=home,
            max_local_disk_size=4 * gib + 1, extra_config={"use_odirect": True},
        )
        meta = LMCacheMetadata(
            model_name="bench", world_size=1, local_world_size=1, worker_id=0, local_worker_id=0,
            kv_dtype=torch.bfloat16, kv_shape=(1, 2, tokens, 1, width),
        )
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        self.memory = LocalCPUBackend(config, meta, dst_device="cpu")
        self.disk = LocalDiskBackend(config, loop, self.memory, dst_device="cpu", metadata=meta)
        self.keys = [CacheEngineKey("bench", 1, 0, 1000 + i, torch.bfloat16) for i in range(chunks)]
        shape = torch.Size((2, 1, tokens, width))
        self.objects = [self.memory.allocate(shape, torch.bfloat16, MemoryFormat.KV_2LTD) for _ in self.keys]
        if any(o is None for o in self.objects):
            raise MemoryError("LMCache has no memory for the chunks")

    def prepare(self, views):
        """Fills its memory with the chunks."""
        import torch

        for o, v in zip(self.objects, views):
            o.tensor.view(-1).copy_(torch.frombuffer(v, dtype=torch.bfloat16))

    def put(self, _):
        """Stores all chunks."""
        done = threading.Semaphore(0)
        self.disk.batched_submit_put_task(self.keys, self.objects, on_complete_callback=lambda _: done.release())
        for _ in self.keys:
            if not done.acquire(timeout=120):
                raise TimeoutError("LMCache did not say that a chunk is stored")
        for o in self.objects:
            o.ref_count_down()

    def get(self, _):
        """Loads all chunks into its memory."""
        self.objects = self.disk.batched_get_blocking(self.keys)
        if any(o is None for o in self.objects):
            raise OSError("LMCache missed a chunk")

    def finish(self, views):
        """Copies its memory into the chunks'."""
        import torch

        for o, v in zip(self.objects, views):
            torch.frombuffer(v, dtype=torch.bfloat16).copy_(o.tensor.view(-1))


class Native:
    """The C++ connector behind fs_native, with its default of 4 threads."""

    def __init__(self, home, chunk, chunks):
        import torch  # noqa: F401, whose libraries the connector needs
        from lmcache.lmcache_fs import LMCacheFSClient

        self.client = LMCacheFSClient(home, 4, "", True, 0)
        self.keys = [f"bench@00000000@0@{i:064x}" for i in range(chunks)]
        self.poll = select.poll()
        self.poll.register(self.client.event_fd(), select.POLLIN)

    def _done(self, _):
        while True:
            if not self.poll.poll(120_000):
                raise TimeoutError("the connector did not say that it is done")
            for _, ok, why, each in self.client.drain_completions():
                if not ok or (each is not None and not all(each)):
                    raise OSError(why or "a chunk failed")
                return

    def put(self, views):
        """Stores all chunks."""
        self._done(self.client.submit_batch_set(self.keys, views))

    def get(self, views):
        """Loads all chunks."""
        self._done(self.client.submit_batch_get(self.keys, views))


def main():
    a = arguments(__doc__)
    with guard("op=put/store=lmcache", "lmcache"):
        says = f"lmcache {version('lmcache')}"
        measure(a, "lmcache-disk", says, "O_DIRECT, 4 threads, no fsync, no checksum", LocalDisk)
        measure(a, "lmcache-fs-native", says, "O_DIRECT, 4 threads, no fsync, no checksum", Native)
    leave()


if __name__ == "__main__":
    main()
