"""Lines of JSON that kvferry's harness reads: see bench/harness/peer.go.

A program calls guard() around what may fail, so that what it cannot do is a
line with an error instead of a crash, and line() for each figure.
"""

import contextlib
import json
import os
import sys
import time

# Some libraries print to standard output while they are imported. The lines
# keep it for themselves.
_out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def line(name, version, unit, value, note=""):
    """Prints one figure. Units: B/s, s, x."""
    say = {"name": name, "version": version, "unit": unit, "value": value}
    if note:
        say["note"] = note
    print(json.dumps(say), file=_out, flush=True)


def failed(name, version, why):
    """Prints that a figure could not be had."""
    print(json.dumps({"name": name, "version": version, "unit": "", "value": 0, "error": str(why)}), file=_out, flush=True)


@contextlib.contextmanager
def guard(name, version):
    """Turns an exception into a line with an error."""
    try:
        yield
    except Exception as e:  # whatever a peer's library throws
        failed(name, version, f"{type(e).__name__}: {e}")


def best(times, do):
    """Returns the seconds of the fastest of some calls, and the last result."""
    fastest, result = None, None
    for _ in range(times):
        start = time.perf_counter()
        result = do()
        took = time.perf_counter() - start
        fastest = took if fastest is None else min(fastest, took)
    return fastest, result


def leave(status=0):
    """Ends the process without waiting for a library's threads."""
    _out.flush()
    sys.stderr.flush()
    os._exit(status)
