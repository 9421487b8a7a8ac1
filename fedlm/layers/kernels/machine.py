"""The processor that kernels are compiled for."""

import functools
import threading
from dataclasses import dataclass

from llvmlite import binding

from fedlm.layers.kernels.emit import Emitter


@dataclass(frozen=True)
class Machine:
    """What fits into a processor's registers.

    Attributes:
      width: floats in a vector.
      rows, vectors: of a tile of a matrix product; its sums stay in registers.
    """

    width: int
    rows: int
    vectors: int


WIDE = Machine(width=16, rows=14, vectors=2)  # 32 registers of AVX-512
NARROW = Machine(width=8, rows=6, vectors=2)  # 16 registers of AVX2
_LOCK = threading.Lock()  # of two engines the one that is not kept would take its kernels with it


@functools.cache
def machine() -> Machine | None:
    """Returns this processor's, or None if kernels are not written for it."""
    features = binding.get_host_cpu_features() if binding.get_default_triple().startswith("x86_64") else {}
    if all(features.get(f) for f in ("avx512f", "avx512vl", "avx512bw", "avx512dq")):
        return WIDE
    return NARROW if features.get("avx2") and features.get("fma") else None


def address_of(emit: Emitter) -> int:
    """Ends a kernel and returns its address; it stays for the life of the process."""
    emit.build.ret_void()
    with _LOCK:
        engine, target = _engine()
        parsed = binding.parse_assembly(str(emit.function.module))
        parsed.verify()
        # Kernels say their vectors themselves.
        options = binding.create_pipeline_tuning_options(speed_level=1)
        options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
        builder = binding.create_pass_builder(target, options)
        builder.getModulePassManager().run(parsed, builder)
        engine.add_module(parsed)
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
