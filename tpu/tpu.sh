#!/usr/bin/env bash
# One command line for a run on a Cloud TPU, from creating it to fetching its results, by either of
# Google's two ways to one: --way=queue (local/queue.sh) or --way=group (local/group.sh).
# It runs on your machine and needs gcloud; README.md beside it tells the whole way.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/local/say.sh"
source "$here/local/types.sh"
source "$here/local/checks.sh"
source "$here/local/job.sh"

usage() {
  cat <<'TEXT'
usage: tpu/tpu.sh COMMAND NAME [options] [-- the program's arguments]

  tpu/tpu.sh job xnli --zone us-east5-b --bucket gs://mine -- --config configs/xnli.py:short

commands
  job      all of the following; after a preemption it starts again and the run continues
  create   ask for a TPU, as the queued resource or the instance group NAME
  setup    copy this checkout's commit there and install it
  run      start the program under a supervisor; it goes on when you disconnect
           (with --way=group create does what these two do, and needs their options)
  log      follow what it prints
  status   the TPU, the program, the checkpoints that are safe
  fetch    copy the results here
  delete   delete the TPU; the bucket keeps the run

options                            (or from the environment)
  --way queue|group                (ALIGNREG_WAY)              queue: Cloud TPU API; group:
                                                               Compute Engine, a managed group
  --zone ZONE                      (ALIGNREG_ZONE)             such as us-east5-b; needed
  --project PROJECT                (ALIGNREG_PROJECT)          without it gcloud's own
  --type TYPE                      (ALIGNREG_TYPE)             v6e-1: one chip, one machine
  --image IMAGE                    (ALIGNREG_IMAGE)            a queue's runtime version, a
                                                               group's image family; without
                                                               it the type's own
  --spot, --on-demand                                          without either spot
  --bucket gs://BUCKET[/PATH]      (ALIGNREG_BUCKET)           the run is kept in .../NAME/
  --folder DIR                     (ALIGNREG_FOLDER)           or in a folder the VMs share
  --prepare COMMAND                (ALIGNREG_PREPARE)          run on every VM before setup
  --sweep                                                      alignreg_jax.sweep, not main
  --into DIR                                                   fetch copies to: runs/NAME
  --max-preemptions N              (ALIGNREG_MAX_PREEMPTIONS)  job gives up after: 100
  --dry-run                                                    print the commands only
TEXT
}

way=${ALIGNREG_WAY:-queue}
zone=${ALIGNREG_ZONE:-}
project=${ALIGNREG_PROJECT:-}
# The paper's batch is 32 rows: one chip holds the model and is kept busy by them, eight would get
# four rows each. A sweep gets faster by more machines instead, a shard on each.
accelerator=${ALIGNREG_TYPE:-v6e-1}
image=${ALIGNREG_IMAGE:-}
prepare=${ALIGNREG_PREPARE:-}
max_preemptions=${ALIGNREG_MAX_PREEMPTIONS:-100}
bucket="" folder=""
spot=yes
program=alignreg_jax.main
into=""
dry_run=""
arguments=()

parse_options() {
  while (($#)); do
    case $1 in
      --spot) spot=yes && shift && continue ;;
      --on-demand) spot="" && shift && continue ;;
      --sweep) program=alignreg_jax.sweep && shift && continue ;;
      --dry-run) dry_run=yes && shift && continue ;;
      --)
        shift
        arguments=("$@")
        return
        ;;
      --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
    esac
    case $1 in
      --way) way=${2:-} ;;
      --zone) zone=${2:-} ;;
      --project) project=${2:-} ;;
      --type) accelerator=${2:-} ;;
      --image) image=${2:-} ;;
      --bucket) bucket=${2:-} ;;
      --folder) folder=${2:-} ;;
      --prepare) prepare=${2:-} ;;
      --into) into=${2:-} ;;
      --max-preemptions) max_preemptions=${2:-} ;;
      *) mistake "unknown option $1; the program's own follow --" ;;
    esac
    [[ ${2:-} && $2 != --* ]] || mistake "$1 needs a value"
    shift 2
  done
}

case ${1:-} in
  "" | -h | --help | help)
    usage
    exit 0
    ;;
  create | setup | run | log | status | fetch | delete | job) action=$1 ;;
  *) mistake "unknown command $1; choose job, create, setup, run, log, status, fetch or delete" ;;
esac
name=${2:-}
[[ $name && $name != -* ]] || mistake "$action needs a NAME for the TPU, before the options"
shift 2
parse_options "$@"
if [[ ! $bucket && ! $folder ]]; then
  bucket=${ALIGNREG_BUCKET:-} folder=${ALIGNREG_FOLDER:-}
elif [[ $way == group ]]; then
  bucket=${bucket:-${ALIGNREG_BUCKET:-}} # beside a folder, for what the machines are told
fi
bucket=${bucket%/}
into=${into:-runs/$name}
[[ $way == queue || $way == group ]] || mistake "--way=$way: choose queue or group"
check_options
image=${image:-$(image_of "$accelerator")}
source "$here/local/commands.sh"
# shellcheck source-path=SCRIPTDIR source=local/queue.sh
source "$here/local/$way.sh"
"do_$action"
