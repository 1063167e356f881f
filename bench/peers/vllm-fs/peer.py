"""vLLM's own file tier (TieringOffloadingSpec's type "fs"), without an engine.

The tier's manager gets the same calls as from the scheduler: a job for each
batch of chunks, which lie in one shared buffer, polled until it is finished.
"""

import os
import sys
import time
from types import SimpleNamespace

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
from chunks import arguments, measure, memory  # noqa: E402
from peerline import guard, leave  # noqa: E402

os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

BATCHES = 16  # jobs in flight: as many as the tier has threads for


def spec():
    """What the manager asks of an OffloadingSpec."""
    return SimpleNamespace(
        blocks_per_chunk=1,
        kv_events_config=SimpleNamespace(enable_kv_cache_events=False),
        config=SimpleNamespace(
            groups=[SimpleNamespace(tokens_per_block=16, layer_names=["0"])],
            parallel=SimpleNamespace(tp_size=1, pp_size=1, pcp_size=1, dcp_size=1, rank=0, is_parallelism_agnostic=True),
            model=SimpleNamespace(name="bench", dtype="bfloat16"),
            cache=SimpleNamespace(tokens_per_hash=16),
            canonical_layout=False,
            kv_cache_layout=None,
            replicated_layout=False,
        ),
    )


class Store:
    """The tier, with its primary tier's memory."""

    def __init__(self, home, chunk, chunks):
        import numpy
        from vllm.v1.kv_offload.base import ReqContext, make_offload_key
        from vllm.v1.kv_offload.tiering.base import TransferJob
        from vllm.v1.kv_offload.tiering.fs.manager import FileSystemTierManager

        self.region = memory(chunk * chunks)
        self.view = memoryview(self.region).cast("B", (chunks, chunk))
        self.tier = FileSystemTierManager(spec(), self.view, "fs", home)
        context = ReqContext(req_id="bench")

        def job(number, ids, load):
            keys = [make_offload_key(i.to_bytes(4, "big") * 8, 0) for i in ids]
            return TransferJob(number, keys, numpy.array(ids, dtype=numpy.int32), load, context)

        self.job = job
        self.batches = [range(i, chunks, BATCHES) for i in range(min(BATCHES, chunks))]

    def _all(self, submit, load):
        for n, ids in enumerate(self.batches):
            submit(self.job(n, list(ids), load))
        left = len(self.batches)
        while left:
            for result in self.tier.get_finished_jobs():
                if not result.success:
                    raise OSError("the tier says that a job failed")
                left -= 1
            time.sleep(0.0002)

    # The chunks' own memory is copied into the region and out of it where no
    # clock runs: see prepare and finish.
    def prepare(self, views):
        """Fills the region with the chunks."""
        flat = self.view.cast("B")
        at = 0
        for v in views:
            flat[at : at + len(v)] = v
            at += len(v)

    def put(self, _):
        """Stores all chunks."""
        self._all(self.tier.submit_store, False)

    def get(self, _):
        """Loads all chunks into the region."""
        self._all(self.tier.submit_load, True)

    def finish(self, views):
        """Copies the region into the chunks' memory."""
        flat = self.view.cast("B")
        at = 0
        for v in views:
            v[:] = flat[at : at + len(v)]
            at += len(v)


def main():
    a = arguments(__doc__)
    version = "vllm"
    with guard("op=put/store=vllm-fs", version):
        import vllm

        version = f"vllm {vllm.__version__}"
        measure(a, "vllm-fs", version, "O_DIRECT, 16+16 threads, no fsync, no checksum", Store)
    leave()


if __name__ == "__main__":
    main()
