from __future__ import annotations

from localrun.engine.buffers import Buffers

MIB = 1024 * 1024
LOG = """\
load_tensors:   CPU_Mapped model buffer size =   157.65 MiB
load_tensors:      Vulkan0 model buffer size =   604.00 MiB
load_tensors:      Vulkan1 model buffer size =   300.50 MiB
llama_kv_cache:    Vulkan0 KV buffer size =   112.00 MiB
llama_kv_cache:    Vulkan0 KV buffer size =    16.00 MiB
sched_reserve:     Vulkan0 compute buffer size =   300.00 MiB
sched_reserve:     Vulkan0 compute buffer size =   100.00 MiB
sched_reserve: Vulkan_Host compute buffer size =     9.00 MiB
a CUDA0 buffer size = many MiB
"""


def test_each_device_holds_what_the_log_says() -> None:
    buffers = Buffers()

    for line in LOG.splitlines():
        buffers.hear(line)

    assert buffers.bytes_on(["Vulkan0"]) == (604 + 112 + 16 + 100) * MIB
    assert buffers.bytes_on(["Vulkan0", "Vulkan1"]) == int((832 + 300.5) * MIB)
    assert buffers.bytes_on(["CUDA0"]) == buffers.bytes_on([]) == 0
