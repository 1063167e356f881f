"""Publishes KV events as an engine does: PUB and ROUTER sockets of libzmq, msgspec classes as the engine declares them.

usage: publish.py FORM bind|connect ENDPOINT SEED BATCHES

FORM is vllm026 (positional), vllm033 (maps) or sglang (positional, signed hashes). Prints the ports, waits for a line,
publishes, prints what the engine holds then as JSON, and answers replays until its input ends. Every seventh batch is
kept for replays but not sent, some are sent twice.
"""
import collections, hashlib, importlib, json, random, struct, sys, time

import msgspec
import zmq

form, how, endpoint, seed, batches = sys.argv[1:6]
kinds = importlib.import_module(form)
rng = random.Random(int(seed))
context = zmq.Context()
pub = context.socket(zmq.PUB)
pub.set_hwm(100_000)
router = context.socket(zmq.ROUTER)
replay_port = router.bind_to_random_port("tcp://127.0.0.1")
port = 0
if how == "bind":
    port = pub.bind_to_random_port("tcp://127.0.0.1")
else:
    pub.connect(endpoint)
print(json.dumps({"port": port, "replay": replay_port}), flush=True)
sys.stdin.readline()

encoder = msgspec.msgpack.Encoder()
log = collections.deque()
held = {}  # (hash, medium): parent or None
parents = {}  # what is known of parents, while any tier has the block or a block behind it


def text(h):
    return "root" if h is None else h.hex() if isinstance(h, bytes) else str(h)


def block(parent, tokens):
    digest = hashlib.sha256(text(parent).encode() + repr(tokens).encode()).digest()
    return kinds.hash_of(digest)


def prompt():
    """The blocks of a prompt with one of a few beginnings."""
    parent, out = None, []
    lead = rng.randrange(8)
    for i in range(rng.randrange(1, 12)):
        tokens = [lead * 1000 + i * 16 + k if i < 6 else rng.randrange(128_000) for k in range(16)]
        h = block(parent, tokens)
        out.append((h, parent, tokens))
        parent = h
    return out


def events():
    roll = rng.random()
    if roll < 0.01:
        held.clear()
        parents.clear()
        return [kinds.AllBlocksCleared()]
    if roll < 0.55 or not held:
        new = [b for b in prompt() if (b[0], "GPU") not in held]
        if not new:
            return []
        # what is new of a prompt is its end, unless a block in front was evicted
        out = []
        for h, parent, tokens in new:
            held[h, "GPU"] = parents[h] = parent
            if out and out[-1][0][-1] == parent:
                out[-1][0].append(h)
                out[-1][2].extend(tokens)
            else:
                out.append(([h], parent, list(tokens)))
        return [kinds.stored(hashes, parent, tokens, 16, "GPU") for hashes, parent, tokens in out]
    if roll < 0.75:
        medium = rng.choice(kinds.MEDIA[1:])
        on_gpu = [h for h, m in list(held) if m == "GPU"]
        some = rng.sample(on_gpu, min(len(on_gpu), 5))
        for h in some:
            held[h, medium] = parents[h]
        return [kinds.offloaded(h, parents[h], medium) for h in some]
    some = rng.sample(list(held), min(len(held), rng.randrange(1, 6)))
    out = []
    for h, m in some:
        del held[h, m]
        out.append(kinds.removed([h], m))
    return out


def serve(wait_ms):
    while router.poll(wait_ms):
        frames = router.recv_multipart()
        start = struct.unpack(">Q", frames[2])[0]
        for seq, payload in log:
            if seq >= start:
                router.send_multipart((frames[0], b"", b"kv", struct.pack(">Q", seq), payload))
        router.send_multipart((frames[0], b"", b"", b"\xff" * 8, b""))
        wait_ms = 0


for seq in range(int(batches)):
    last = seq == int(batches) - 1
    payload = encoder.encode(kinds.batch(time.time(), events()))
    log.append((seq, payload))
    if last or seq % 7 != 3:
        for _ in range(2 if seq % 11 == 5 else 1):
            pub.send_multipart((b"kv", struct.pack(">Q", seq), payload))
    serve(1)
print(json.dumps(sorted([text(h), text(p), m] for (h, m), p in held.items())), flush=True)
poller = zmq.Poller()
poller.register(router, zmq.POLLIN)
poller.register(sys.stdin.fileno(), zmq.POLLIN)
while not any(s == sys.stdin.fileno() for s, _ in poller.poll()):
    serve(0)
context.destroy(linger=0)
