# shellcheck shell=bash disable=SC2154 # the options are variables of tpu.sh
# The commands, each a few calls of gcloud. They are joined by && because job looks at what they
# return, and where that is done bash does not stop at a failure by itself.

tpus() {
  act gcloud compute tpus "$@" --zone="$zone" ${project:+--project="$project"} --quiet
}

# on_vm WORKERS COMMAND: a preempted VM does not hang up, so ssh must notice by itself
on_vm() {
  tpus tpu-vm ssh "$name" --worker="$1" --command="$2" \
    --ssh-flag="-o ConnectTimeout=30" --ssh-flag="-o ServerAliveInterval=30"
}

do_create() {
  # The end of an earlier job of this name would be taken for this one's
  { [[ ! $bucket ]] || act gcloud storage cp - "$bucket/$name/state" <<<"waiting"; } &&
    tpus queued-resources create "$name" --node-id="$name" --accelerator-type="$accelerator" \
      --runtime-version="$runtime_version" ${spot:+--spot}
}

do_delete() {
  tpus queued-resources delete "$name" --force
}

# Where no program runs; it is held by the supervisor, see vm/start.sh
idle="mkdir -p alignreg && flock --nonblock alignreg/lock true"

# The VM keeps alignreg/code, alignreg/venv, and a folder for every job. A VM where the program runs
# is left alone: of several, perhaps only one has rebooted.
do_setup() {
  local archive=${XDG_CACHE_HOME:-$HOME/.cache}/alignreg_jax/$name.tar.gz
  local code=alignreg/code
  local install="rm -rf $code && mkdir $code && tar -xzf alignreg.tar.gz -C $code"
  install+=" && bash $code/tpu/vm/setup.sh tpu"
  { [[ ! $prepare ]] || on_vm all "$prepare"; } &&
    act mkdir -p "${archive%/*}" &&
    act git -C "$here/.." archive --format=tar.gz --output="$archive" HEAD &&
    tpus tpu-vm scp "$archive" "$name:alignreg.tar.gz" --worker=all &&
    on_vm all "if $idle; then $install; else echo a program is running, nothing changed; fi"
}

do_run() {
  local kept=(--folder "$folder")
  [[ ! $bucket ]] || kept=(--bucket "$bucket/$name")
  on_vm all "$(quoted bash alignreg/code/tpu/vm/start.sh "${kept[@]}" -- \
    "$program" "${arguments[@]}")"
}

# The log of a VM that is gone is in the bucket
do_log() {
  on_vm 0 "tail -n 100 -F alignreg/current/log" ||
    { [[ $bucket ]] && act gcloud storage cat "$bucket/$name/logs/*"; }
}

# What the supervisor of every worker is at: running, stopped (by a reboot, say) or "ended CODE"
report() {
  local ended="grep ended alignreg/current/state 2>/dev/null"
  on_vm all "if $idle; then $ended || echo stopped; else echo running; fi"
}

tpu_state() {
  tpus queued-resources list --filter="name ~ /$name\$" --format="value(state.state)"
}

do_status() {
  say "the TPU:" && tpu_state
  say "the program:" && { report || true; }
  [[ ! $bucket ]] || {
    say "its checkpoints in the bucket:"
    act gcloud storage ls "$bucket/$name/workdir/**/checkpoints/*.json" || true
  }
}

# Without checkpoints, which are most of a run's size and which only the program reads
do_fetch() {
  if [[ $bucket ]]; then
    act gcloud storage rsync --recursive --exclude='(.*/)?(checkpoints|dense)/.*' \
      "$bucket/$name/workdir" "$into"
  else
    local archive=alignreg/results.tar.gz
    on_vm 0 "tar -czf $archive --exclude=checkpoints --exclude=dense -C $(quoted "$folder") ." &&
      act mkdir -p "$into" &&
      tpus tpu-vm scp "$name:$archive" "$into/results.tar.gz" --worker=0 &&
      act tar -xzf "$into/results.tar.gz" -C "$into" &&
      act rm "$into/results.tar.gz"
  fi
}
