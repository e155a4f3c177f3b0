#!/usr/bin/env bash
# Run the program until it has ended for good, whatever happens in between.
#
#   supervise.sh JOB (--bucket gs://BUCKET/PATH | --workdir DIR) -- COMMAND...
#
# COMMAND gets --workdir appended. With --bucket the workdir is JOB/workdir: it is brought from the
# bucket if it is not here, and saved there every few minutes and at the end. With --workdir it lies
# in a folder that outlives the machine. The program continues from its newest checkpoint by itself;
# here it is only started again. Its exit codes: 0 done, 2 the user's error, 3 a loss that is not
# finite; after any other it is worth another try, as after a 2 while another process had the
# workdir. JOB/state is "running", then "ended CODE".
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
save_seconds=${ALIGNREG_SAVE_SECONDS:-300}
first_delay=${ALIGNREG_RESTART_SECONDS:-10}
most_restarts=${ALIGNREG_MAX_RESTARTS:-5} # without a new checkpoint in between

(($# >= 5)) || { echo "error: give JOB, --bucket or --workdir, --, and a command" >&2 && exit 2; }
job=$1
bucket="" workdir=$job/workdir
case $2 in
  --bucket) bucket=$3 ;;
  --workdir) workdir=$3 ;;
  *) echo "error: $2: give --bucket or --workdir" >&2 && exit 2 ;;
esac
[[ $4 == -- ]] || { echo "error: $4: the command follows --" >&2 && exit 2; }
program=("${@:5}" --workdir "$workdir")
mkdir -p "$job"

say() {
  printf '%(%F %T)T supervisor: %s\n' -1 "$*"
}

# ---- The bucket ---------------------------------------------------------------------------------

cache=${ALIGNREG_CACHE:-$HOME/.cache/alignreg_jax}/xla # programs that JAX has compiled
log=$(printf '%(%Y%m%d-%H%M%S)T' -1)-$(hostname).txt   # one for every start, none overwritten

storage() {
  gcloud storage "$@" --no-user-output-enabled # errors are told all the same
}

# A run, a sweep, or seeds side by side, each in a folder of its own
something_here() {
  [[ $(find "$workdir" -maxdepth 2 \( -name config.json -o -name sweep.json \) 2>/dev/null) ]]
}

restore() {
  local listing
  [[ $bucket ]] && ! something_here || return 0
  if listing=$(gcloud storage ls "$bucket/workdir/" 2>&1); then
    say "continuing the run in $bucket"
    rm -rf "$job/restored" "$workdir"
    storage rsync --recursive "$bucket/workdir" "$job/restored" || return
    mv "$job/restored" "$workdir" || return # whole, or not at all
    storage rsync --recursive "$bucket/xla" "$cache" || say "no compiled programs there"
  elif [[ $listing != *"matched no objects"* ]]; then
    # Not the same as an empty bucket: a new run would be saved over the one that is there
    say "cannot read $bucket: $listing"
    return 1
  fi
}

save() {
  [[ $bucket ]] || return 0
  # One at a time: an older snapshot would delete what a newer one has just brought
  flock "$job/save.lock" bash "$here/sync.sh" "$workdir" "$job/snapshot" "$bucket/workdir" || return
  if [[ -d $cache ]]; then
    storage rsync --recursive "$cache" "$bucket/xla" || say "compiled programs not saved"
  fi
  if [[ -f $job/log ]]; then
    cp "$job/log" "$job/log.copy" # it grows while it is read
    storage cp "$job/log.copy" "$bucket/logs/$log" || say "log not saved"
  fi
}

keep_saving() {
  while kill -0 $$ 2>/dev/null; do # as long as the supervisor lives
    # A sleep that is no process of its own, which would live on for minutes after the end
    read -rt "$save_seconds" <> <(:) || true
    save || say "could not save; trying again"
  done
}

# ---- The program --------------------------------------------------------------------------------

stopping="" ended="" child="" code=1

# The program is told, too, and waited for
# shellcheck disable=SC2329 # called by the trap
stop() {
  stopping=yes
  say "asked to stop"
  [[ ! $child ]] || kill -TERM "$child" 2>/dev/null || true
}
trap stop TERM INT

# Wait for a child until it is really gone: a signal cuts `wait` short. Its status is kept for the
# last `wait`.
await() {
  child=$1
  [[ ! $stopping ]] || kill -TERM "$child" 2>/dev/null || true # asked before it was known
  while kill -0 "$child" 2>/dev/null; do
    wait "$child" || true
  done
  code=0
  wait "$child" || code=$?
  child=""
}

# Changes with every checkpoint and with every run of a sweep that is done
progress() {
  { find "$workdir" \( -path '*/checkpoints/*.json' -o -name results.json \) \
    -printf '%T@ %p\n' 2>/dev/null || true; } | sort | tail -n 1
}

# Whether another process has the workdir: a file server keeps a lost machine's locks for a while
in_use() {
  local lock
  for lock in "$workdir"/{,*/}.lock; do
    [[ ! -e $lock ]] || flock --shared --nonblock "$lock" true || return 0
  done
  return 1
}

# Until it has ended for good, or somebody asks to stop
run() {
  local restarts=0 delay=$first_delay before final
  while [[ ! $stopping ]]; do
    before=$(progress) final=(0 2 3)
    if in_use; then final=(0 3); fi # then 2 may be for that alone
    say "starting: ${program[*]}"
    "${program[@]}" &
    await $!
    say "the program ended with $code"
    if [[ " ${final[*]} " == *" $code "* ]]; then ended=yes && break; fi
    [[ ! $stopping ]] || break
    if [[ $(progress) != "$before" ]]; then restarts=0 delay=$first_delay; fi
    if ((restarts++ == most_restarts)); then
      say "giving up after $most_restarts restarts without a new checkpoint"
      ended=yes && break
    fi
    sleep "$delay" &
    wait $! || kill $! 2>/dev/null || true # a signal ends it early
    delay=$((delay * 2))
  done
}

# At the end saving matters more than time: a preemption ends it, and then the last copy is good
save_for_good() {
  local try
  for try in 1 2 3 4 5; do
    if save; then return; fi
    say "could not save ($try of 5)"
    [[ ! $stopping ]] || return
    sleep "$((try * first_delay))"
  done
  return 1
}

for try in 1 2 3 4 5; do
  if restore; then break; fi
  ((try < 5)) || exit 1
  sleep "$((try * first_delay))"
done
saver=""
if [[ $bucket ]]; then
  keep_saving &
  saver=$!
fi
run
[[ ! $saver ]] || kill "$saver"
save_for_good || exit 1
# Who was asked to stop has not ended: the next machine goes on
[[ $ended ]] || exit 143
echo "ended $code" >"$job/ended"
# First to the bucket: who reads it here may rely on it there
[[ ! $bucket ]] || storage cp "$job/ended" "$bucket/state"
mv "$job/ended" "$job/state"
exit "$code"
