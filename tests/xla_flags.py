"""Flags that have XLA compile quickly, for tests: most of their time is compilation."""

from importlib.metadata import version

# XLA's older code generator, on one thread, takes half of the processor time. What it makes of one
# expression rounds differently from program to program, so tests marked "exact" do without it.
# From jaxlib 0.11 on there is none, and a flag that XLA does not know ends the process
QUICKLY = "--xla_cpu_parallel_codegen_split_count=1"
# Tests run as many processes as there are cores, whose threads would wait for one another
QUICKLY += " --xla_cpu_multi_thread_eigen=false"
if tuple(int(part) for part in version("jaxlib").split(".")[:2]) < (0, 11):
    QUICKLY += " --xla_cpu_use_fusion_emitters=false"
UNOPTIMIZED = "--xla_backend_optimization_level=0"

# Fake ones, for tests marked "sharded": every program is compiled for all of them
EIGHT_DEVICES = "--xla_force_host_platform_device_count=8"
