#!/usr/bin/env bash
# Save a workdir to a bucket so that the copy there can be continued from at every moment, also when
# this is killed half-way.
#
#   sync.sh WORKDIR SNAPSHOT gs://BUCKET/PATH
#
# The program writes on meanwhile, so first a snapshot is taken beside the workdir, as links. Its
# files are of three kinds, which are sent in this order and taken in the opposite one:
#
#   identity   config.json, sweep.json    without them the program takes a folder for another's
#   data       all the rest               metrics.jsonl too: no checkpoint may know more events
#   promises   the checkpoints' manifests, results.json: they say that other files are complete
#
# So what a promise in the bucket promises is there before it, and what a promise in the snapshot
# promises was complete when it was taken. Only then is deleted what the workdir no longer has.
set -euo pipefail

workdir=$1 snapshot=$(realpath -m "$2") url=$3
cd "$workdir" 2>/dev/null || exit 0 # nothing yet
# A run, a sweep, or seeds side by side, each in a folder of its own
[[ $(find . -maxdepth 2 \( -name config.json -o -name sweep.json \) 2>/dev/null) ]] || exit 0

rm -rf "$snapshot"
mkdir -p "$snapshot"/{promises,data,identity,whole}

# files CONDITION...: those that meet it, but locks and files that are being written
files() {
  find . \( -name .lock -o -name '.*.????????' \) -prune -o -type f "$@" -print0 2>/dev/null || true
}

# A file that vanishes meanwhile either was not promised, or take_checkpoint notices
links() {
  xargs -0 -r cp --link --parents --target-directory="$snapshot/$1" 2>/dev/null || true
}

copies() {
  xargs -0 -r cp --preserve=timestamps --parents --target-directory="$snapshot/$1"
}

manifests=(-path '*/checkpoints/[0-9]*.json' -not -path '*/checkpoints/*/*')
identity=(\( -name config.json -o -name sweep.json \) -not -path '*/export/*')
growing=(\( -name metrics.jsonl -o -path '*/tensorboard/*' \)) # in place: a link would grow, too

# The program deletes the manifest first, so if that is still there afterwards, nothing of its
# folder was deleted while it was taken.
take_checkpoint() {
  local manifest=$1 folder=${1%.json}
  mkdir -p "$snapshot/data/${folder%/*}"
  if ! cp --archive --link "$folder" "$snapshot/data/$folder" 2>/dev/null ||
    [[ ! -e $manifest ]]; then
    rm -rf "${snapshot:?}/data/$folder" "$snapshot/promises/$manifest"
  fi
}

taken_manifests() {
  cd "$snapshot/promises" && files "${manifests[@]}"
}

files \( "${manifests[@]}" -o -name results.json \) | links promises
while IFS= read -rd '' manifest; do
  take_checkpoint "$manifest"
done < <(taken_manifests)
files "${growing[@]}" | copies data
files -not \( "${growing[@]}" -o "${identity[@]}" -o -name results.json \
  -o -path '*/checkpoints/*' \) | links data
files "${identity[@]}" -not -path '*/checkpoints/*' | links identity

wait_for_it() {
  echo "$1; not saved this time" >&2
  exit 1
}

# Where the program goes back to an older checkpoint, because the newest was damaged, it also cuts
# metrics.jsonl back. The bucket may have that newest one undamaged, and it needs the long file; so
# nothing is sent until the run is there again. Nor where all checkpoints were deleted while they
# were taken: then the bucket would lose those it has.
while IFS= read -rd '' manifest; do
  events=$(sed -n 's/.*"events": *\([0-9]*\).*/\1/p' "$snapshot/promises/$manifest")
  lines=$(wc -l <"$snapshot/data/${manifest%/checkpoints/*}/metrics.jsonl")
  ((events <= lines)) || wait_for_it "$manifest has seen $events events, metrics.jsonl has $lines"
done < <(taken_manifests)
sent=$snapshot.sent # the promises of the last time
while IFS= read -rd '' manifest; do
  run=$snapshot/promises/${manifest%/checkpoints/*}
  newest=$({ find "$run/checkpoints" -name '[0-9]*.json' 2>/dev/null || true; } | sort | tail -n 1)
  if [[ ! $newest ]]; then
    grep -qs '"finished": *true' "$run/results.json" || wait_for_it "${run##*/./}: no checkpoint"
  elif [[ ${manifest##*/} > ${newest##*/} ]]; then
    wait_for_it "$manifest is gone"
  fi
done < <(cd "$sent" 2>/dev/null && files "${manifests[@]}")
rm -rf "$sent"
cp --archive --link "$snapshot/promises" "$sent"

send() {
  gcloud storage rsync --recursive --no-user-output-enabled "$@" "$url"
}
for part in identity data promises; do
  send "$snapshot/$part"
  cp --archive --link "$snapshot/$part/." "$snapshot/whole"
done
send --delete-unmatched-destination-objects "$snapshot/whole"
