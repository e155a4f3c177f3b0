# shellcheck shell=bash disable=SC2154 # the options are variables of tpu.sh
# What commands of both ways consist of; queue.sh and group.sh define the same functions for theirs.
# Calls are joined by && because job looks at what they return, and where that is done bash does not
# stop at a failure by itself.

# The commit as an archive; without the user's changes, which check_checkout tells of
archive=${XDG_CACHE_HOME:-$HOME/.cache}/alignreg_jax/$name.tar.gz
pack() {
  act mkdir -p "${archive%/*}" &&
    act git -C "$here/.." archive --format=tar.gz --output="$archive" HEAD
}

# start_command OPTIONS_OF_THE_PROGRAM...: starts the supervisor on a VM
start_command() {
  local kept=(--folder "$folder")
  [[ $folder ]] || kept=(--bucket "$bucket/$name")
  quoted bash alignreg/code/tpu/vm/start.sh "${kept[@]}" -- "$program" "$@" "${arguments[@]}"
}

# The log of a VM that is gone is in the bucket
do_log() {
  on_vm 0 "tail -n 100 -F $logs" ||
    { [[ $bucket ]] && act gcloud storage cat "$bucket/$name/logs/*"; }
}

# Where no program runs; it is held by the supervisor, see vm/start.sh
idle="mkdir -p alignreg && flock --nonblock alignreg/lock true"

# What the supervisor of every worker is at: running, stopped (by a reboot, say) or "ended CODE"
report_of_vms() {
  local ended="grep ended alignreg/current/state 2>/dev/null"
  on_vm all "if $idle; then $ended || echo stopped; else echo running; fi"
}

do_status() {
  say "the TPU:" && tpu_state
  [[ $way == queue ]] || tell_why || true
  say "the program:" && { report || true; }
  [[ ! $bucket ]] || {
    say "its checkpoints in the bucket:"
    act gcloud storage ls "$bucket/$name/workdir/**/checkpoints/*.json" || true
  }
}

# Checkpoints are most of a run's size, and only the program reads them
results_without='(.*/)?(checkpoints|dense)/.*'

fetch_from_bucket() {
  act gcloud storage rsync --recursive --exclude="$results_without" "$bucket/$name/workdir" "$into"
}
