"""Makes caches in the layouts of serving engines, lends their memory to the
device suite, and compares what that took out and put back.

    torch_check.py [--plain]

Tensors are PyTorch's. With --plain the memory is taken from the driver itself,
for machines without PyTorch: bytes are then compared by plain loops.

For each case it writes a line with the memory of each tensor, waits for a file
with canonical pages and compares it; spoils the tensors, waits until the pages
were put back into other places, and compares again. It ends with its input.
"""

import ctypes
import json
import os
import random
import sys

PLAIN = "--plain" in sys.argv
# Memory of expandable segments cannot be shared with another process.
os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:False"
os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:False"

# name, shape of each tensor by axes, tensors: one for each layer, one for all, or
# one for K and one for V of each layer. 2 is K and V, C a head's row, D a row of K
# and one of V.
CASES = [
    ("split", "2BNHC", "layer"),
    ("nhd", "B2NHC", "layer"),
    ("hnd", "B2HNC", "layer"),
    ("packed", "BHND", "layer"),
    ("LBHNC", "LBHND", "all"),
    ("LBNHC", "LBNHD", "all"),
    ("LHBNC", "LHBND", "all"),
    ("BLHNC", "BLHND", "all"),
    ("BLNHC", "BLNHD", "all"),
    ("BHLNC", "BHLND", "all"),
    ("pools", "BNHC", "layer and kind"),
    ("latent", "BNC", "layer"),
]


def say(**words):
    print(json.dumps(words), flush=True)


def check(code, what):
    if code:
        raise RuntimeError(f"{what}: CUresult {code}")


class Driver:
    """What of the driver is needed to lend memory."""

    def __init__(self):
        self.lib = ctypes.CDLL("libcuda.so.1")
        check(self.lib.cuInit(0), "cuInit")

    def current(self):
        device, context = ctypes.c_int(), ctypes.c_void_p()
        check(self.lib.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
        check(self.lib.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
        check(self.lib.cuCtxSetCurrent(context), "cuCtxSetCurrent")

    def alloc(self, size):
        at = ctypes.c_uint64()
        check(self.lib.cuMemAlloc_v2(ctypes.byref(at), ctypes.c_size_t(size)), "cuMemAlloc")
        return at.value

    def free(self, at):
        check(self.lib.cuMemFree_v2(ctypes.c_uint64(at)), "cuMemFree")

    def write(self, at, data):
        check(self.lib.cuMemcpyHtoD_v2(ctypes.c_uint64(at), bytes(data), ctypes.c_size_t(len(data))), "cuMemcpyHtoD")

    def read(self, at, size):
        data = ctypes.create_string_buffer(size)
        check(self.lib.cuMemcpyDtoH_v2(data, ctypes.c_uint64(at), ctypes.c_size_t(size)), "cuMemcpyDtoH")
        return data.raw

    def lend(self, at, size):
        base, whole = ctypes.c_uint64(), ctypes.c_size_t()
        check(self.lib.cuMemGetAddressRange_v2(ctypes.byref(base), ctypes.byref(whole), ctypes.c_uint64(at)), "cuMemGetAddressRange")
        handle = (ctypes.c_ubyte * 64)()
        check(self.lib.cuIpcGetMemHandle(handle, base), "cuIpcGetMemHandle")
        return {"handle": bytes(handle).hex(), "offset": at - base.value, "whole": whole.value, "bytes": size}


class PlainMemory:
    """A tensor of two-byte elements in memory of the driver's own."""

    def __init__(self, driver, shape, seed):
        self.driver, self.shape = driver, shape
        self.size = 2
        for n in shape:
            self.size *= n
        self.at = driver.alloc(self.size)
        driver.write(self.at, random.Random(seed).randbytes(self.size))

    def strides(self):
        out, at = [], 1
        for n in reversed(self.shape):
            out.insert(0, at)
            at *= n
        return out

    def data(self):
        return self.driver.read(self.at, self.size)

    def spoil(self):
        self.driver.write(self.at, b"\xee" * self.size)

    def close(self):
        self.driver.free(self.at)


class TorchMemory:
    """A tensor of PyTorch's."""

    def __init__(self, driver, shape, seed):
        import torch

        make = torch.Generator(device="cuda").manual_seed(seed)
        # Normal values, and a pattern of all kinds of bits behind them.
        self.tensor = torch.randn(*shape, device="cuda", generator=make).bfloat16()
        flat = self.tensor.view(torch.int16).view(-1)
        odd = torch.randint(-(2**15), 2**15, (flat.numel() // 7 + 1,), device="cuda", generator=make, dtype=torch.int16)
        flat[::7] = odd[: flat[::7].numel()]
        torch.cuda.synchronize()
        self.at, self.size = self.tensor.data_ptr(), self.tensor.numel() * 2

    def spoil(self):
        import torch

        self.tensor.view(torch.int16).fill_(-4370)
        torch.cuda.synchronize()

    def close(self):
        self.tensor = None


def axes_of(form, dims):
    return [dims[a] for a in form]


def plain_pages(case, tensors, dims):
    """The canonical bytes of each page, by loops over offsets."""
    name, form, each = case
    strides = [dict(zip(form, t.strides())) for t in tensors]
    data = [t.data() for t in tensors]
    row = 2 * dims["C"]

    def piece(kind, layer, page, token, head):
        index = {"layer": layer, "all": 0, "layer and kind": 2 * layer + kind}[each]
        s = strides[index]
        at = page * s["B"] + token * s["N"] + s.get("H", 0) * head + s.get("L", 0) * layer + s.get("2", 0) * kind
        if "D" in form:
            at += kind * dims["C"]
        return data[index][2 * at : 2 * at + row]

    kinds, heads = (1, 1) if name == "latent" else (2, dims["H"])
    return [
        b"".join(
            piece(k, layer, page, token, head)
            for k in range(kinds)
            for layer in range(dims["L"])
            for token in range(dims["N"])
            for head in range(heads)
        )
        for page in range(dims["B"])
    ]


def torch_pages(case, tensors, dims):
    """The same by PyTorch's own permutations."""
    import torch

    name, form, each = case
    views = [t.tensor for t in tensors]
    if each == "layer":
        form, whole = "L" + form, torch.stack(views)
    elif each == "layer and kind":
        form = "L2" + form
        whole = torch.stack([torch.stack(views[i : i + 2]) for i in range(0, len(views), 2)])
    else:
        whole = views[0]
    if "D" in form:
        whole = whole.unflatten(-1, (2, dims["C"]))
        form = form.replace("D", "2C")
    order = "BLNC" if name == "latent" else "B2LNHC"
    pages = whole.permute([form.index(a) for a in order]).contiguous()
    flat = pages.view(torch.int16).reshape(dims["B"], -1).cpu()
    return [bytes(bytearray(p.numpy().tobytes())) for p in flat]


def differing(want, got):
    bad = [i for i, (a, b) in enumerate(zip(want, got)) if a != b]
    if len(want) != len(got):
        return f"{len(got)} pages instead of {len(want)}"
    return f"{len(bad)} of {len(want)} pages differ, the first is {bad[0]}" if bad else "ok"


def run(case, driver, dims, seed):
    name, form, each = case
    dims = dict(dims, D=2 * dims["C"])
    count = {"layer": dims["L"], "all": 1, "layer and kind": 2 * dims["L"]}[each]
    make = PlainMemory if PLAIN else TorchMemory
    pages_of = plain_pages if PLAIN else torch_pages
    tensors = [make(driver, axes_of(form, dims), seed + i) for i in range(count)]
    want = pages_of(case, tensors, dims)
    size = len(want[0])
    say(case=name, dims=dims, tensors=[driver.lend(t.at, t.size) for t in tensors])

    answer = json.loads(sys.stdin.readline())
    with open(answer["file"], "rb") as f:
        data = f.read()
    got = [data[i * size : (i + 1) * size] for i in range(len(data) // size)]
    gathered = differing([want[p] for p in answer["pages"]], got)
    for t in tensors:
        t.spoil()
    say(gathered=gathered)

    answer = json.loads(sys.stdin.readline())  # where the page at each place came from; -1: nowhere
    have = pages_of(case, tensors, dims)
    spoilt = b"\xee" * size
    restored = differing([spoilt if p < 0 else want[p] for p in answer["places"]], have)
    say(restored=restored)
    json.loads(sys.stdin.readline())  # the memory was given back
    for t in tensors:
        t.close()


def main():
    pages = int(sys.stdin.readline())
    what = "memory of the driver's own"
    if not PLAIN:
        try:
            import torch
        except ImportError as e:
            say(error=f"PyTorch is not here: {e}")
            return
        if not torch.cuda.is_available():
            say(error="PyTorch sees no GPU")
            return
        torch.zeros(1, device="cuda")
        what = f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}"
    driver = Driver()
    driver.current()
    say(ready=what, cases=len(CASES))
    dims = {"2": 2, "B": pages, "L": 3, "H": 4, "N": 16, "C": 64}
    for i, case in enumerate(CASES):
        run(case, driver, dims, 1000 * i)


main()
