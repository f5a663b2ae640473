#!/bin/bash
# Embed an archive on a SLURM cluster: sbatch slurm_embed.sh SLIDES OUTPUT
#
# This job hands out slides and needs no GPU; the eight that it asks SLURM for embed them, one slide at a time. Give the
# same line again to go on after a stop. Change what is in capitals, and the queue, to what your cluster has; slurm.md
# tells what each option means. It is written from SLURM's manual: no SLURM was at hand to run it.
#SBATCH --job-name=embed-archive
#SBATCH --cpus-per-task=1
#SBATCH --mem=2G
#SBATCH --time=3-00:00:00
#SBATCH --signal=B:INT@120
set -euo pipefail

slides=${1:?"say what to embed: sbatch slurm_embed.sh SLIDES OUTPUT"}
output=${2:?"say where to: sbatch slurm_embed.sh SLIDES OUTPUT"}
lab=${LAB:-/shared/lab}  # where every machine sees the environment and the weights

export TORCH_HOME=$lab/weights/torch HF_HOME=$lab/weights/huggingface
export PATH=$lab/env/bin:$PATH
# `exec`, so that SLURM's signal before the end reaches the command, which then has every worker save what it has.
exec embedder embed "$slides" -o "$output" \
  --slurm --workers 8 \
  --slurm-options queue=gpu gpus=1 cores=8 memory=32GB walltime=08:00:00
