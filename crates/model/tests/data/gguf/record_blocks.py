"""Records blocks_<type>.bin: random GGUF blocks, then the f32 values that the PyPI package `gguf` dequantises them to.

Run once by hand (pip install gguf==0.19.0); the tests read the files alone.
"""
import sys
import numpy as np
from gguf import GGMLQuantizationType as T, quants, GGML_QUANT_SIZES

rng = np.random.default_rng(7)
BLOCKS = 3
# Byte offsets of the f16 scales in a block, which random bytes would make infinite.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "F16": [], "BF16": [], "F32": []}
for name, offsets in SCALES.items():
    kind = T[name]
    values, size = GGML_QUANT_SIZES[kind]
    if values == 1:
        numbers = rng.standard_normal(32).astype(np.float32)
        blocks = numbers.view(np.uint8) if name == "F32" else (
            numbers.astype(np.float16).view(np.uint8) if name == "F16" else quants.quantize(numbers, kind).view(np.uint8))
        blocks = blocks.reshape(1, -1)
    else:
        blocks = rng.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
        for offset in offsets:
            scale = (rng.standard_normal(BLOCKS) * 0.02).astype(np.float16)
            blocks[:, offset:offset + 2] = scale.view(np.uint8).reshape(BLOCKS, 2)
    if name == "F32":
        expected = blocks.view(np.float32)
    elif name == "F16":
        expected = blocks.view(np.float16).astype(np.float32)
    else:
        expected = quants.dequantize(blocks, kind)
    expected = np.ascontiguousarray(expected, dtype="<f4")
    with open(f"{sys.argv[1]}/blocks_{name.lower()}.bin", "wb") as file:
        file.write(blocks.tobytes() + expected.tobytes())
    print(name, blocks.size, expected.size)
