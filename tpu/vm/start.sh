#!/usr/bin/env bash
# Start the supervisor on this VM so that it outlives the connection; nothing if it runs already.
#
#   start.sh (--bucket gs://BUCKET/PATH/NAME | --folder DIR) -- MODULE ARGUMENTS...
set -euo pipefail

case $1 in
  --bucket) bucket=$2 folder="" ;;
  --folder) bucket="" folder=$2 ;;
esac
shift 3
root=$HOME/alignreg
# Named after where the run is kept, so that two runs on one VM never mix
job=$root/jobs/$(tr -c 'A-Za-z0-9\n' - <<<"${bucket#gs://}$folder")

mkdir -p "$job"
# The supervisor and the program inherit the lock, so it is held until both are gone
exec 9>"$root/lock"
if ! flock --nonblock 9; then
  echo "a program is running already"
  exit 0
fi
ln -sfn "$job" "$root/current"
echo running >"$job/state"
if [[ $bucket ]]; then
  # Here, where it is seen at once that the VM may not write to the bucket
  gcloud storage cp "$job/state" "$bucket/state"
else
  mkdir -p "$folder" # likewise; and after a mistake of the program there is a folder to fetch
fi

cd "$root/code"
setsid nohup bash tpu/supervise.sh "$job" \
  ${bucket:+--bucket "$bucket"} ${folder:+--workdir "$folder"} \
  -- "$root/venv/bin/python" -m "$@" >>"$job/log" 2>&1 </dev/null &
echo "started; its log is $job/log"
