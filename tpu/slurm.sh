#!/usr/bin/env bash
#SBATCH --job-name=alignreg
#SBATCH --array=1-8
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
#SBATCH --open-mode=append
#SBATCH --output=slurm-%A-%a.txt
#
# A sweep as a Slurm array: task I of N does shard I/N, all in one folder that every node sees.
#
#   sbatch tpu/slurm.sh FOLDER --config FILE [the sweep's other arguments]
#   sbatch --array=1-16 tpu/slurm.sh runs/table1 --config configs/table1.py:short
#
# Submit it where the checkout is; .venv there (or $ALIGNREG_VENV) has the extra `cuda`. To repeat
# some tasks only, say how many there are: SHARDS=8 sbatch --array=3,5 ...
set -euo pipefail

if [[ ! -f tpu/supervise.sh || $# -lt 2 || ! ${SLURM_ARRAY_TASK_ID:-} ]]; then
  echo "error: in the checkout's folder, sbatch tpu/slurm.sh FOLDER --config FILE ..." >&2
  exit 2
fi
folder=$1
shift

# A step of its own: Slurm sends SIGTERM to steps, 120 s before the time is up and at a preemption
code=0
srun bash tpu/supervise.sh "$folder.slurm/$SLURM_ARRAY_TASK_ID" --workdir "$folder" -- \
  "${ALIGNREG_VENV:-.venv}/bin/python" -m alignreg_jax.sweep "$@" \
  --shard "$SLURM_ARRAY_TASK_ID/${SHARDS:-$SLURM_ARRAY_TASK_COUNT}" || code=$?
# Asked to stop, not done: back into the queue, to continue. After a preemption Slurm does it itself
if ((code == 143)); then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
