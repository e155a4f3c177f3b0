# shellcheck shell=bash disable=SC2154 # the options are variables of tpu.sh
# What is known of accelerator types.

# The image that a type's machines start from; nothing for an unknown type. In the queue it is the
# runtime version that Cloud TPU's documentation names for it, in a group an image family.
image_of() {
  case $way:$1 in
    queue:v6e-*) echo v2-alpha-tpuv6e ;;
    queue:v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    queue:v5p-*) echo v2-alpha-tpuv5 ;;
    queue:v4-* | queue:v3-* | queue:v2-*) echo tpu-ubuntu2204-base ;;
    group:v6e-* | group:v5p-*) echo ubuntu-accel-2204-amd64-tpu-v5e-v5p-v6e ;;
    group:tpu7x-*) echo ubuntu-accel-2404-amd64-tpu-tpu7x ;;
  esac
}

# Names of v6e and v5e count chips, of which a machine has up to eight; the others count cores,
# and a machine has eight
is_one_machine() {
  case $1 in
    v6e-[148] | v5litepod-[148] | tpu7x-8 | v5p-8 | v4-8 | v3-8 | v2-8) true ;;
    *) false ;;
  esac
}

# The rest is for groups: what to ask Compute Engine for

machine_type_of() {
  case $1 in
    v6e-[148]) echo "ct6e-standard-${1#v6e-}t" ;;
    v6e-*) echo ct6e-standard-4t ;;
    v5p-*) echo ct5p-hightpu-4t ;;
    tpu7x-*) echo tpu7x-standard-4t ;;
  esac
}

# How its chips are wired; nothing for what no group has
topology_of() {
  case $1 in
    v6e-1) echo 1x1 ;;
    v6e-4) echo 2x2 ;;
    v6e-8) echo 2x4 ;;
    v6e-16) echo 4x4 ;;
    v6e-32) echo 4x8 ;;
    v6e-64) echo 8x8 ;;
    v5p-8 | tpu7x-8) echo 2x2x1 ;;
    v5p-16 | tpu7x-16) echo 2x2x2 ;;
    v5p-32 | tpu7x-32) echo 2x2x4 ;;
    v5p-64 | tpu7x-64) echo 2x4x4 ;;
  esac
}

# Larger ones are made of machines with four chips
machines_of() {
  case $1 in
    v6e-[148]) echo 1 ;;
    v6e-*) echo $((${1#*-} / 4)) ;;
    *) echo $((${1#*-} / 8)) ;;
  esac
}
