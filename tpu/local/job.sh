# shellcheck shell=bash disable=SC2154,SC2034 # the options are variables of tpu.sh; others the ways'
# The whole way as one loop: look at what is there, do the one thing that is missing, look again.
# Nothing but counters is kept in between, so job can be stopped and called again at any moment, and a
# preemption, a reboot and a first start are all handled by the same lines.

poll_seconds=${ALIGNREG_POLL_SECONDS:-60}
most_failures=5    # in a row; a VM that has just booted may refuse ssh once or twice
most_starts=5      # on one TPU; the supervisor restarts the program: another is for a reboot
most_unanswered=60 # in a row, an hour; a login that has expired does not come back by itself

do_job() {
  if [[ $dry_run ]]; then
    plan_job
    return
  fi
  local state last="" code="" was_active=""
  local failures=0 preemptions=0 starts=0 unanswered=0 suspended=0
  # Without a TPU, what an earlier job of this name has left in the bucket does not count; do_create
  # replaces it
  local started=""
  state=$(tpu_state)
  [[ ! $state ]] || started=yes
  trap 'goes_on; exit 130' INT
  while :; do
    if [[ $started ]] && code=$(ended_with); then break; fi
    if state=$(tpu_state); then
      unanswered=0
    else
      state=unknown
      ((++unanswered < most_unanswered)) || lose_sight
    fi
    [[ $state == "$last" ]] || say "$name: ${state:-no TPU yet}"
    last=$state
    advance "$state" || ((++failures < most_failures)) || give_up "$failures failures in a row"
    sleep "$poll_seconds"
  done
  say "the program ended with $code"
  ((code == 0)) || on_vm 0 "tail -n 30 alignreg/current/log" >&2 || true
  local unfinished=0
  if ! do_fetch; then
    say "could not fetch the results; tpu.sh fetch tries again"
    if [[ $folder ]]; then
      say "$name is kept for that, and costs; tpu.sh delete ends it"
      exit 1
    fi
    unfinished=1
  fi
  if ! do_delete; then
    say "could not delete the TPU, which costs; tpu.sh delete tries again"
    unfinished=1
  fi
  exit "$((code ? code : unfinished))"
}

goes_on() {
  say "$name goes on without you, and costs: the same command follows it, tpu.sh delete ends it"
}

lose_sight() {
  say "gcloud has failed $most_unanswered times in a row; gcloud auth login, if that is why"
  goes_on
  exit 1
}

give_up() {
  say "giving up after $1; look at tpu.sh log, and tpu.sh delete what costs"
  exit 1
}

# The one thing that a state calls for
advance() {
  case $1 in
    "") do_create ;;
    ACTIVE) was_active=yes suspended=0 && keep_running && failures=0 ;;
    SUSPENDED | FAILED) ((++suspended < patience)) || replace ;;
    *) true ;; # on its way to one of the others, or unknown: the network is down
  esac
}

keep_running() {
  local found
  if ! found=$(report 2>/dev/null); then # gcloud tells of every connection
    say "$name does not answer"
    node_is_lost && replace
  elif [[ $found == *running* && $found != *stopped* ]] || { [[ $started ]] && ended_with >/dev/null; }; then
    started=yes
  else
    # Also a program that has ended but could not save: it is started again to bring that about
    start_program
  fi
}

replace() {
  if [[ ! $was_active && $way == queue ]]; then # a group that gets no machines waits for them
    # Refused rather than preempted; why is lost with it
    tell_why >&2 || true
    do_delete || true
    return 1
  fi
  do_delete || return
  was_active="" starts=0 suspended=0
  if ((++preemptions > max_preemptions)); then
    say "giving up after $max_preemptions preemptions; the run is kept, the same command continues"
    exit 1
  fi
  say "preempted ($preemptions); starting again"
}

# The program's exit code once it has ended; fails until then
ended_with() {
  local found
  if [[ ! $folder ]]; then
    found=$(gcloud storage cat "$bucket/$name/state" 2>/dev/null) || return
  else
    found=$(report 2>/dev/null) || return
  fi
  [[ $found == *ended* && $found != *running* && $found != *stopped* ]] || return
  sed -n 's/^ended //p' <<<"$found" | sort -n | tail -n 1
}

# What do_job calls, in the order of the first time
plan_job() {
  tpu_state
  do_create
  report
  if [[ $way == queue ]]; then do_setup && do_run; fi
  if [[ ! $folder ]]; then act gcloud storage cat "$bucket/$name/state"; fi
  do_fetch
  do_delete
}
