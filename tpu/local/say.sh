# shellcheck shell=bash
# Telling the user things; running commands, or only showing them.
# What runs on the user's machine keeps to what old versions of bash can do.

say() {
  printf 'tpu: %s\n' "$*" >&2
}

# The user's mistake: one line, exit code 2, as the program itself does it
mistake() {
  printf 'error: %s\n' "$*" >&2
  exit 2
}

# Words as one line that a shell takes apart into the same words
quoted() {
  local word line="" quote="'" escaped="'\\''"
  for word in "$@"; do
    [[ $word =~ ^[-A-Za-z0-9_./:=,@%+]+$ ]] || word=$quote${word//$quote/$escaped}$quote
    line+=" $word"
  done
  printf '%s' "${line# }"
}

# Run a command, or with --dry-run only show it
act() {
  if [[ $dry_run ]]; then
    quoted "$@"
    echo
  else
    "$@"
  fi
}
