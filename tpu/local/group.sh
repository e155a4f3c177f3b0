# shellcheck shell=bash disable=SC2154,SC2034 # the options are variables of tpu.sh
# A TPU through Compute Engine: the managed instance group NAME, its template NAME and, for several
# machines, the workload policy NAME, which makes one slice of them. Everything that a machine has
# to do lies in the bucket, and vm/boot.sh does it at every boot. So a machine that the group has
# made anew continues the run without anyone's help, and nothing here needs ssh, but for `log` and
# a --folder.

patience=5 # looks at a machine that was taken away: the group itself replaces a single one
logs="alignreg/boot.log alignreg/current/log"

on_zone() {
  act gcloud compute "$@" --zone="$zone" ${project:+--project="$project"} --quiet
}

groups() {
  on_zone instance-groups managed "$@"
}

templates() {
  act gcloud compute instance-templates "$@" ${project:+--project="$project"} --quiet
}

policies() {
  act gcloud compute resource-policies "$@" --region="${zone%-*}" \
    ${project:+--project="$project"} --quiet
}

# The template comes first: where it cannot be created the name is another's, and what that one has
# in the bucket stays. After any other failure only what was created here goes again.
do_create() {
  local policy=""
  create_template || return
  if put_orders && { is_one_machine "$accelerator" || { create_policy && policy=yes; }; } &&
    create_group; then
    started=yes # for job: what the bucket says from now on is about this group
    return
  fi
  [[ ! $policy ]] || gone policies delete "$name"
  gone templates delete "$name"
  return 1
}

put_orders() {
  pack &&
    act gcloud storage cp "$archive" "$bucket/$name/code.tar.gz" &&
    act gcloud storage cp - "$bucket/$name/run.sh" <<<"$(boot_commands)" &&
    act gcloud storage cp - "$bucket/$name/state" <<<"waiting"
}

# With --distributed=on machines that do not find each other end with a mistake; otherwise each would
# do the run alone, in one folder
boot_commands() {
  local together=""
  is_one_machine "$accelerator" || together=--distributed=on
  printf '%s\n' "set -e" ${prepare:+"$prepare"} "bash alignreg/code/tpu/vm/setup.sh tpu" \
    "$(start_command $together)"
}

create_template() {
  local model=(--provisioning-model=STANDARD)
  [[ ! $spot ]] || model=(--provisioning-model=SPOT --instance-termination-action=STOP)
  templates create "$name" --machine-type="$(machine_type_of "$accelerator")" "${model[@]}" \
    --maintenance-policy=TERMINATE --image-project=ubuntu-os-accelerator-images \
    --image-family="$image" --boot-disk-size=200GB --scopes=cloud-platform \
    --metadata=alignreg="$bucket/$name" --metadata-from-file=startup-script="$here/vm/boot.sh"
}

create_policy() {
  policies create workload-policy "$name" --type=HIGH_THROUGHPUT \
    --accelerator-topology="$(topology_of "$accelerator")"
}

# Machines of a slice come and go together: in bulk, and none is repaired alone
create_group() {
  local slice=() owner=${project:-${dry_run:+PROJECT}}
  if ! is_one_machine "$accelerator"; then
    [[ $owner ]] || owner=$(gcloud config get-value project 2>/dev/null) || return
    slice=(--workload-policy="projects/$owner/regions/${zone%-*}/resourcePolicies/$name")
    slice+=(--target-size-policy-mode=bulk --default-action-on-vm-failure=do-nothing)
  fi
  groups create "$name" --template="$name" --size="$(machines_of "$accelerator")" \
    ${slice[@]+"${slice[@]}"}
}

do_delete() {
  gone groups delete "$name" && gone templates delete "$name" && gone policies delete "$name"
}

# Delete what may not be there: after a creation that was cut off, or for a single machine
gone() {
  local said
  if ! said=$("$@" 2>&1) && [[ $said != *"was not found"* ]]; then
    printf '%s\n' "$said" >&2
    return 1
  fi
  [[ ! $said ]] || printf '%s\n' "$said"
}

# For job: the machine is at work on it
start_program() {
  ((starts++ < most_unanswered)) ||
    give_up "$most_unanswered looks at a machine that starts nothing"
}

node_is_lost() {
  false
}

# A line for every machine: its name, what it is at, what the group does with it
machines() {
  groups list-instances "$name" --format="csv[no-heading](name,instanceStatus,currentAction)"
}

# In the words of queued resources: ACTIVE when all machines run, SUSPENDED when one is off and the
# group leaves it so
tpu_state() {
  local there
  there=$(groups_of_that_name) || return
  if [[ $dry_run ]]; then
    printf '%s\n' "$there"
    machines
    return
  fi
  [[ $there ]] || return 0
  there=$(machines) || return
  if grep -Eq ',(TERMINATED|STOPPED|SUSPENDED),NONE$' <<<"$there"; then
    echo SUSPENDED
  elif [[ ! $there ]] || grep -qv ',RUNNING,NONE$' <<<"$there"; then
    echo WAITING
  else
    echo ACTIVE
  fi
}

groups_of_that_name() {
  act gcloud compute instance-groups managed list --zones="$zone" \
    --filter="name = $name" --format="value(name)" ${project:+--project="$project"} --quiet
}

tell_why() {
  groups list-errors "$name" --limit=3 --format="value(error.message)"
}

# on_vm WORKERS COMMAND, as root, who runs everything there
on_vm() {
  local found machine failed=""
  if [[ $dry_run ]]; then
    machines
    found=MACHINE
  else
    found=$(machines) && [[ $found ]] || return
  fi
  [[ $1 == all ]] || found=${found%%$'\n'*}
  for machine in $found; do
    on_zone ssh "${machine%%,*}" --command="sudo -H bash -c $(quoted "cd && $2")" \
      --ssh-flag="-o ConnectTimeout=30" --ssh-flag="-o ServerAliveInterval=30" </dev/null ||
      failed=yes
  done
  [[ ! $failed ]]
}

report() {
  if [[ $folder ]]; then
    report_of_vms
  else
    act gcloud storage cat "$bucket/$name/state"
  fi
}

do_fetch() {
  local send
  send=$(quoted gcloud storage rsync --recursive --exclude="$results_without" \
    "$folder" "$bucket/$name/workdir")
  { [[ ! $folder ]] || on_vm 0 "$send"; } && fetch_from_bucket
}
