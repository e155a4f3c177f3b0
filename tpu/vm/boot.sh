#!/usr/bin/env bash
# The startup script of a machine in a managed instance group. At every boot, also of a machine that
# the group has made anew, it installs what the bucket has for it and starts the run; the supervisor
# then continues from the bucket. It ends with the run: nothing that it started is ended before.
set -uo pipefail

export HOME=${HOME:-/root} # a startup script may have none
mkdir -p "$HOME/alignreg/code" && cd "$HOME" || exit
exec >>alignreg/boot.log 2>&1

start() {
  local bucket code=alignreg/code
  bucket=$(curl --silent --fail --header "Metadata-Flavor: Google" \
    http://metadata.google.internal/computeMetadata/v1/instance/attributes/alignreg) &&
    gcloud storage cp "$bucket/code.tar.gz" alignreg.tar.gz &&
    gcloud storage cp "$bucket/run.sh" run.sh &&
    rm -rf "$code" && mkdir "$code" && tar -xzf alignreg.tar.gz -C "$code" &&
    bash run.sh
}

# The lock is the supervisor's; one that is gone without an end, as when it could not save, is
# started again
until start && flock alignreg/lock true && grep -q ended alignreg/current/state; do
  echo "not at its end; trying again"
  sleep "${ALIGNREG_RESTART_SECONDS:-60}"
done
