# shellcheck shell=bash disable=SC2154 # the options are variables of tpu.sh
# Mistakes that are found here cost nothing; on the TPU each would cost a machine's start.

check_options() {
  [[ $name =~ ^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$ ]] ||
    mistake "NAME $name: small letters, digits and hyphens, a letter first"
  [[ $zone ]] || mistake "--zone is needed, such as --zone us-east5-b"
  [[ $max_preemptions =~ ^[0-9]+$ ]] || mistake "--max-preemptions=$max_preemptions: not a number"
  [[ ! $bucket || $bucket =~ ^gs://[a-z0-9][-a-z0-9._]+(/.+)?$ ]] ||
    mistake "--bucket=$bucket: give gs://BUCKET or gs://BUCKET/PATH"
  [[ ! $folder || $folder == /* ]] || mistake "--folder=$folder: give the whole path, from /"
  "check_$way"
  case $action in
    fetch) check_kept ;;
    setup) check_checkout ;;
    run | job) check_program ;;
  esac
  [[ $dry_run ]] || command -v gcloud >/dev/null ||
    mistake "gcloud is not there; it comes from https://cloud.google.com/sdk/docs/install"
}

check_queue() {
  [[ $accelerator != tpu7x-* ]] || mistake "--type=$accelerator is to be had with --way=group only"
  [[ ! $bucket || ! $folder ]] || mistake "--bucket and --folder: give one of them"
  [[ $image || $(image_of "$accelerator") ]] ||
    mistake "--type=$accelerator is not known here: give its --image, too"
}

# Its machines find in the bucket what they do, so all of that is needed when they are created
check_group() {
  [[ $(topology_of "$accelerator") ]] ||
    mistake "--type=$accelerator: --way=group knows v6e-N, v5p-N and tpu7x-N, up to 64"
  case $action in
    setup | run) mistake "with --way=group create does what $action does" ;;
    create | job | fetch) [[ $bucket ]] || mistake "$action needs --bucket gs://BUCKET" ;;
  esac
  [[ $action != create ]] || check_program
}

check_program() {
  check_kept && check_machines && check_arguments && check_checkout
}

check_kept() {
  [[ $bucket || $folder ]] || mistake "$action needs --bucket gs://BUCKET or --folder DIR"
}

# Each machine would save its own workdir over the others', or do the whole sweep by itself
check_machines() {
  is_one_machine "$accelerator" || {
    [[ $program != *.sweep ]] ||
      mistake "$accelerator is not known as one machine; a sweep wants one for each --shard"
    [[ $folder ]] ||
      mistake "$accelerator is not known as one machine; several need a --folder that they share"
  }
}

check_arguments() {
  local argument before="" config=""
  for argument in ${arguments[@]+"${arguments[@]}"}; do
    [[ $argument != --workdir* ]] || mistake "--workdir is set by --bucket or --folder"
    [[ $argument != --config=* ]] || config=${argument#*=}
    [[ $before != --config ]] || config=$argument
    before=$argument
  done
  [[ $config ]] || mistake "$action needs the program's arguments: -- --config configs/xnli.py"
  config=${config%%:*}
  [[ $config == /* ]] || git -C "$here/.." cat-file -e "HEAD:$config" 2>/dev/null ||
    mistake "$config is not in the commit that is copied to the TPU; commit it first"
}

check_checkout() {
  git -C "$here/.." rev-parse --quiet --verify HEAD >/dev/null 2>&1 ||
    mistake "setup copies a commit, and this is no git checkout"
  git -C "$here/.." diff --quiet HEAD || say "changes that are not committed stay here"
}
