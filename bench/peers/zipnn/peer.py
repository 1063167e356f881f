"""ZipNN, zstd and lz4 on page files; see ../README.md for the arguments.

For each file NAME.kv, beside which NAME.json tells its page_bytes, and for each
codec it prints the lines op=ratio, op=encode and op=decode of
OP/codec=CODEC/data=NAME/of=part, of=page or of=file. A part is the K or V half of a
page, which is what kvferry stores as a blob. Every blob is encoded and decoded
by itself, one after the other in one thread; a rate is plain bytes over the sum
of the blobs' fastest times. What comes back is compared.
"""

import argparse
import json
import os
import sys
from importlib.metadata import version

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
from peerline import best, failed, guard, leave, line  # noqa: E402


def zipnn(dtype):
    """ZipNN as its README says for bytes of one element type."""
    from zipnn import ZipNN

    z = ZipNN(input_format="byte", bytearray_dtype=dtype, method="AUTO", threads=1)
    # It splits the bytes where they lie, so it gets a copy, which is not timed.
    return z.compress, z.decompress


def zstd(level):
    import zstandard

    c, d = zstandard.ZstdCompressor(level=level), zstandard.ZstdDecompressor()
    return c.compress, d.decompress


def lz4(_):
    import lz4.frame

    return lz4.frame.compress, lz4.frame.decompress


CODECS = {
    "zipnn": (zipnn, "zipnn", "bfloat16"),
    "zstd-1": (zstd, "zstandard", 1),
    "zstd-3": (zstd, "zstandard", 3),
    "zstd-19": (zstd, "zstandard", 19),
    "lz4": (lz4, "lz4", None),
}


def measure(encode, decode, blobs, times):
    """Returns bytes in, bytes out, seconds to encode and seconds to decode."""
    plain = stored = 0
    there = back = 0.0
    for blob in blobs:
        copies = iter([bytearray(blob) for _ in range(times)])
        t, packed = best(times, lambda: encode(next(copies)))
        packed = bytes(packed)
        again = iter([bytearray(packed) for _ in range(times)])
        u, result = best(times, lambda: decode(next(again)))
        if bytes(result) != bytes(blob):
            raise ValueError("what was decoded is not what was encoded")
        plain, stored, there, back = plain + len(blob), stored + len(packed), there + t, back + u
    return plain, stored, there, back


def run(path, codecs, grains, times, most):
    name = os.path.splitext(os.path.basename(path))[0]
    with open(path, "rb") as f:
        data = f.read()
    with open(os.path.splitext(path)[0] + ".json", encoding="utf-8") as f:
        page = json.load(f)["page_bytes"]
    for grain in grains:
        size = {"part": page // 2, "page": page, "file": len(data)}[grain]
        blobs = [memoryview(data)[i : i + size] for i in range(0, len(data), size)][: most or None]
        for codec in codecs:
            make, package, setting = CODECS[codec]
            tail = f"codec={codec}/data={name}/of={grain}"
            with guard(f"op=encode/{tail}", package):
                says = f"{package} {version(package)}"
                encode, decode = make(setting)
                plain, stored, there, back = measure(encode, decode, blobs, times)
                note = "one thread, no checksum"
                line(f"op=ratio/{tail}", says, "x", plain / stored, note)
                line(f"op=encode/{tail}", says, "B/s", plain / there, note)
                line(f"op=decode/{tail}", says, "B/s", plain / back, note)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--codecs", default="zipnn,zstd-1,zstd-3,lz4", help="of " + ",".join(CODECS))
    args.add_argument("--of", default="part,page", help="of part, page, file")
    args.add_argument("--best", type=int, default=3, help="how often each blob is coded; the fastest counts")
    args.add_argument("--blobs", type=int, default=0, help="at most so many blobs of a file")
    args.add_argument("files", nargs="+", metavar="FILE.kv")
    a = args.parse_args()
    for path in a.files:
        try:
            run(path, a.codecs.split(","), a.of.split(","), max(1, a.best), a.blobs)
        except (OSError, KeyError, ValueError) as e:
            failed(f"op=encode/data={os.path.basename(path)}", "", f"{type(e).__name__}: {e}")
    leave()


if __name__ == "__main__":
    main()
