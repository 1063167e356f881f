"""Multiplies bf16 matrices in a loop, in a process of its own, while copies run
in another one.

    matmul.py SIDE

It writes {"ready": ...} when the product is warm, or {"error": ...}. For each
line with a number of seconds that it reads it multiplies for that long and
writes {"flops": RATE}. It ends with its input.
"""

import json
import sys
import time


def say(**words):
    print(json.dumps(words), flush=True)


def main():
    side = int(sys.argv[1])
    try:
        import torch
    except ImportError as e:
        say(error=f"PyTorch is not here: {e}")
        return
    if not torch.cuda.is_available():
        say(error="PyTorch sees no GPU")
        return
    random = torch.Generator(device="cuda").manual_seed(1)
    a, b = (torch.randn(side, side, device="cuda", generator=random).bfloat16() for _ in range(2))
    c = torch.empty_like(a)

    def burst():
        for _ in range(4):
            torch.matmul(a, b, out=c)
        torch.cuda.synchronize()
        return 4

    for _ in range(5):
        burst()
    say(ready=f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}")
    for line in sys.stdin:
        start, end, products = time.monotonic(), time.monotonic() + float(line), 0
        while time.monotonic() < end:
            products += burst()
        say(flops=2 * side**3 * products / (time.monotonic() - start))


main()
