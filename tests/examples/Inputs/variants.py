"""What roundtrip.py and determinism.py compile: each example as it is and with its other shapes."""

import os

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "examples")

OPTIONS = {
    "attention_window": ["", "-DWINDOW=100 -DCAP=0.0 -DD=64 -DT=bf16"],
    "cumsum": ["", "-DT=f16 -DN=1000"],
    "flash_attention": ["", "-DCAUSAL=true -DLSE=true", "-DLAYOUT=bshd -DD=64 -DT=bf16"],
    "flash_decode": ["", "-DRAGGED=true"],
    "matmul": ["", "-DLAYOUT=tn -DBIAS=true -DACTIVATION=gelu", "-DT=i8", "-DT=f8e4m3 -DM=4096 -DN=4096 -DK=4096",
               "-DSPLIT=4", "-DALIGN=1 -DLAYOUT=nn"],
    "matmul_gelu_residual": ["", "-DGELU=erf -DM=4096 -DN=4096 -DK=4096"],
    "matmul_nf4": [""],
    "matmul_w2a8": ["", "-DWT=u2 -DOFFSET=1"],
    "matmul_w4a16": ["", "-DZERO=original -DBIAS=true", "-DZERO=rescale -DST=f32", "-DWT=u4 -DZERO=quantized -DG=64",
                     "-DWT=u3", "-DWT=f6e3m2 -DST=e8m0"],
    "rmsnorm": ["", "-DRESIDUAL=true"],
    "softmax": [""],
    "swiglu": ["", "-DM=4096 -DN=4096 -DK=4096"],
    "transpose": [""],
}


def each(name=None):
    """(path of the example, options) of every variant, or of one example's."""
    for example in [name] if name else sorted(OPTIONS):
        for options in OPTIONS[example]:
            yield os.path.normpath(os.path.join(FOLDER, example + ".tl")), options.split()


def every_example_is_here():
    kernels = {name[:-3] for name in os.listdir(FOLDER) if name.endswith(".tl") and name != "activations.tl"}
    return kernels == set(OPTIONS)
