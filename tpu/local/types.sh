# shellcheck shell=bash
# What is known of accelerator types.

# The runtime that Cloud TPU's documentation names for a type; nothing for an unknown one
runtime_of() {
  case $1 in
    v6e-*) echo v2-alpha-tpuv6e ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v4-* | v3-* | v2-*) echo tpu-ubuntu2204-base ;;
  esac
}

# Names of v6e and v5e count chips, of which a machine has up to eight; the others count cores,
# and a machine has eight
is_one_machine() {
  case $1 in
    v6e-[148] | v5litepod-[148] | v5p-8 | v4-8 | v3-8 | v2-8) true ;;
    *) false ;;
  esac
}
