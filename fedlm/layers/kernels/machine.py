"""The processor that kernels are compiled for: its vectors, how large a tile its registers hold, and its compiler.

A tile of a matrix product, r rows of v vectors, keeps its r v sums in registers. Each step of the
depth loads v vectors of b and, one after the other, r numbers of a. So it needs r v + v + 1
registers, and makes r v multiply-adds for r + v loads: the larger the tile, the fewer loads.

  AVX-512   32 registers of 16 floats   14 x 2 vectors: 28 + 2 + 1 = 31   28 multiply-adds for 16 loads
  AVX2      16 registers of 8 floats     6 x 2 vectors: 12 + 2 + 1 = 15   12 multiply-adds for 8 loads
"""

import functools
import threading
from dataclasses import dataclass

from llvmlite import binding

from fedlm.layers.kernels.emit import Emitter


@dataclass(frozen=True)
class Machine:
    """A processor.

    Attributes:
      name: of its vector instructions.
      width: floats of a vector.
      rows: rows of a tile.
      vectors: vectors of each row of a tile.
    """

    name: str
    width: int
    rows: int
    vectors: int


WIDE = Machine("avx512", width=16, rows=14, vectors=2)
NARROW = Machine("avx2", width=8, rows=6, vectors=2)
_LOCK = threading.Lock()  # two threads must not make two engines: a kernel dies with its engine


@functools.cache
def machine() -> Machine | None:
    """Returns this processor, or None if no kernels are written for it."""
    features = binding.get_host_cpu_features() if binding.get_default_triple().startswith("x86_64") else {}
    if all(features.get(f) for f in ("avx512f", "avx512vl", "avx512bw", "avx512dq")):
        return WIDE
    return NARROW if features.get("avx2") and features.get("fma") else None


def address_of(emit: Emitter) -> int:
    """Ends a kernel, compiles it, and returns its address, which stays valid as long as the process."""
    emit.build.ret_void()
    with _LOCK:
        engine, target = _engine()
        module = binding.parse_assembly(str(emit.function.module))
        module.verify()
        # The emitter writes vectors and tiles itself: LLVM shall not vectorise or unroll on top of
        # that.
        options = binding.create_pipeline_tuning_options(speed_level=1)
        options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
        builder = binding.create_pass_builder(target, options)
        builder.getModulePassManager().run(module, builder)
        engine.add_module(module)
        engine.finalize_object()
        return int(engine.get_function_address(emit.function.name))


@functools.cache
def _engine() -> tuple[binding.ExecutionEngine, binding.TargetMachine]:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    host = binding.Target.from_default_triple()
    features = binding.get_host_cpu_features()
    options = {"cpu": binding.get_host_cpu_name(), "features": features.flatten(), "opt": 3}
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), host.create_target_machine(**options))
    return engine, host.create_target_machine(**options)
