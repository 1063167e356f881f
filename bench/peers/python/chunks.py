"""What the programs of the engines' stores have in common: they store chunks of
a file, sync, drop what the kernel holds of them, load, compare, and print

    op=put/LABEL/store=NAME       until the store says that it is done
    op=put-sync/LABEL/store=NAME  the same, and then a sync of the file system
    op=get/LABEL/store=NAME       with nothing in the page cache

A store is made by a function of (dir, chunk, chunks) and has put(views) and
get(views): both return when all is done, and raise where something failed. One
that moves bytes from and to memory of its own has prepare(views) and
finish(views), too, which copy the chunks there and back while no clock runs.
"""

import argparse
import ctypes
import mmap
import os
import shutil
import tempfile
import time

from peerline import guard, line

_libc = ctypes.CDLL(None, use_errno=True)


def _sync(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        if _libc.syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), "syncfs")
    finally:
        os.close(fd)


def _drop(path):
    """Drops what the kernel holds of all files below path."""
    for folder, _, names in os.walk(path):
        for name in names:
            fd = os.open(os.path.join(folder, name), os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def views(data, chunk, chunks):
    """Cuts memory into the chunks' views."""
    whole = memoryview(data)
    return [whole[i * chunk : (i + 1) * chunk] for i in range(chunks)]


def memory(n):
    """Returns memory of n bytes that is aligned for O_DIRECT and touched."""
    m = mmap.mmap(-1, n)
    for i in range(0, n, mmap.PAGESIZE):
        m[i] = 1
    return m


def arguments(doc):
    """Parses what every such program takes."""
    args = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--dir", required=True, help="a folder on the disk to measure")
    args.add_argument("--data", required=True, help="a file with the chunks' content, one behind the other")
    args.add_argument(
        "--set", type=_set, action="append", required=True, dest="sets", metavar="BYTESxN:LABEL",
        help="bytes of a chunk, how many, and what goes into the figures' names; may be given again",
    )
    return args.parse_args()


def _set(text):
    size, _, label = text.partition(":")
    chunk, _, chunks = size.partition("x")
    return int(chunk), int(chunks), label


def measure(a, name, version, note, make):
    """Measures one store with each set and prints its lines."""
    for chunk, chunks, label in a.sets:
        tail = "/".join(x for x in (label, f"store={name}") if x)
        with guard(f"op=put/{tail}", version):
            home = tempfile.mkdtemp(prefix=name + "-", dir=a.dir)
            try:
                _measure(a.data, chunk, chunks, tail, version, note, make(home, chunk, chunks), home)
            finally:
                shutil.rmtree(home, ignore_errors=True)


def _measure(data, chunk, chunks, tail, version, note, store, home):
    total = chunk * chunks
    given, back = memory(total), memory(total)
    with open(data, "rb") as f:
        if f.readinto(given) != total:
            raise ValueError(f"{data} is shorter than {total} bytes")
    source, target = views(given, chunk, chunks), views(back, chunk, chunks)
    if hasattr(store, "prepare"):
        store.prepare(source)
    _sync(home)
    start = time.perf_counter()
    store.put(source)
    put = time.perf_counter() - start
    _sync(home)
    synced = time.perf_counter() - start
    _drop(home)
    start = time.perf_counter()
    store.get(target)
    got = time.perf_counter() - start
    if hasattr(store, "finish"):
        store.finish(target)
    if memoryview(given) != memoryview(back):
        raise ValueError("what was loaded is not what was stored")
    line(f"op=put/{tail}", version, "B/s", total / put, note)
    line(f"op=put-sync/{tail}", version, "B/s", total / synced, note + ", then a sync of the file system")
    line(f"op=get/{tail}", version, "B/s", total / got, note)
