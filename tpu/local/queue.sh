# shellcheck shell=bash disable=SC2154,SC2034 # the options are variables of tpu.sh
# A TPU through the Cloud TPU API: the queued resource NAME with one node, NAME too. The machines are
# reached by ssh, and what has to be done on them is done from here.

patience=1 # looks at a TPU that was taken away, before it is replaced
logs=alignreg/current/log

tpus() {
  act gcloud compute tpus "$@" --zone="$zone" ${project:+--project="$project"} --quiet
}

# on_vm WORKERS COMMAND: a preempted VM does not hang up, so ssh must notice by itself
on_vm() {
  tpus tpu-vm ssh "$name" --worker="$1" --command="$2" \
    --ssh-flag="-o ConnectTimeout=30" --ssh-flag="-o ServerAliveInterval=30"
}

do_create() {
  # The end of an earlier job of this name would be taken for this one's, so it goes first; where the
  # name is taken, the state is another's
  local there=""
  if [[ $bucket ]]; then
    [[ $dry_run ]] || there=$(tpu_state) || return
    [[ $there ]] || act gcloud storage cp - "$bucket/$name/state" <<<"waiting" || return
  fi
  tpus queued-resources create "$name" --node-id="$name" --accelerator-type="$accelerator" \
    --runtime-version="$image" ${spot:+--spot}
}

do_delete() {
  tpus queued-resources delete "$name" --force
}

# The VM keeps alignreg/code, alignreg/venv, and a folder for every job. A VM where the program runs
# is left alone: of several, perhaps only one has rebooted.
do_setup() {
  local code=alignreg/code
  local install="rm -rf $code && mkdir $code && tar -xzf alignreg.tar.gz -C $code"
  install+=" && bash $code/tpu/vm/setup.sh tpu"
  { [[ ! $prepare ]] || on_vm all "$prepare"; } &&
    pack &&
    tpus tpu-vm scp "$archive" "$name:alignreg.tar.gz" --worker=all &&
    on_vm all "if $idle; then $install; else echo a program is running, nothing changed; fi"
}

do_run() {
  on_vm all "$(start_command)"
}

# For job: a VM that is there has no program yet, or has lost it by a reboot
start_program() {
  ((starts++ < most_starts)) || give_up "$most_starts starts that came to no end"
  do_setup && do_run && started=yes
}

tpu_state() {
  tpus queued-resources list --filter="name ~ /$name\$" --format="value(state.state)"
}

# A queued resource may stay ACTIVE for a while after its node was preempted
node_is_lost() {
  local node
  node=$(tpus tpu-vm list --filter="name ~ /$name\$" --format="value(state)") &&
    [[ ! $node || $node == PREEMPTED || $node == TERMINATED ]]
}

tell_why() {
  tpus queued-resources describe "$name" --format="yaml(state)"
}

report() {
  report_of_vms
}

# From a folder that only the machines reach
do_fetch() {
  if [[ $bucket ]]; then
    fetch_from_bucket
    return
  fi
  local results=alignreg/results.tar.gz
  on_vm 0 "tar -czf $results --exclude=checkpoints --exclude=dense -C $(quoted "$folder") ." &&
    act mkdir -p "$into" &&
    tpus tpu-vm scp "$name:$results" "$into/results.tar.gz" --worker=0 &&
    act tar -xzf "$into/results.tar.gz" -C "$into" &&
    act rm "$into/results.tar.gz"
}
