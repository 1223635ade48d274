#!/bin/sh
# One sweep over an array of 16 jobs, put together by a last one:
#
#   id=$(sbatch --parsable slurm.sh)
#   sbatch --dependency=afterok:$id --wrap "simulations merge out/part-* --out out/all"
#
# A job that is killed goes on where it was when it is started again.
#SBATCH --job-name=simulations
#SBATCH --array=0-15
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=1G
#SBATCH --time=04:00:00
#SBATCH --requeue
set -eu
exec simulations sweep "${SCENARIO:-delay-and-width.toml}" \
    --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
    --threads "$SLURM_CPUS_PER_TASK" \
    --out "out/part-$SLURM_ARRAY_TASK_ID" --resume
