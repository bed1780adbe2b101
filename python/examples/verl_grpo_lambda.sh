#!/usr/bin/env bash
# GRPO-λ with verl 0.9.1 on a Ray cluster of two nodes with eight GPUs each.
#
# On every node: pip install './python[verl]' in brevity's repository; then `ray start --head` on the first and
# `ray start --address=FIRST:6379` on the other, and this script on the first. The variable must reach the driver, which
# runs as a Ray task.
set -euo pipefail

MODEL=${MODEL:-Qwen/Qwen3-8B}
PROBLEMS=${PROBLEMS:-dapo-math-17k.parquet} # in verl's format: prompt, reward_model.ground_truth, data_source
OUT=${OUT:-runs/verl-grpo-lambda}

export VERL_USE_EXTERNAL_MODULES=brevity_rl.verl

python3 -m verl.trainer.main_ppo \
  "+ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES=brevity_rl.verl" \
  algorithm.adv_estimator=grpo_lambda \
  algorithm.use_kl_in_reward=False \
  "+algorithm.brevity.settings={lambda: 0.2, alpha: 0.2}" \
  "+algorithm.brevity.seed=0" \
  "+algorithm.brevity.length_max=\${data.max_response_length}" \
  "+algorithm.brevity.directory=\${trainer.default_local_dir}" \
  reward.custom_reward_function.path=pkg://brevity_rl.verl \
  reward.custom_reward_function.name=compute_score \
  data.train_files="$PROBLEMS" \
  data.val_files="$PROBLEMS" \
  data.train_batch_size=64 \
  data.max_prompt_length=1024 \
  data.max_response_length=8192 \
  actor_rollout_ref.model.path="$MODEL" \
  actor_rollout_ref.actor.ppo_mini_batch_size=64 \
  actor_rollout_ref.actor.use_kl_loss=False \
  actor_rollout_ref.actor.optim.lr=1e-6 \
  actor_rollout_ref.rollout.name=vllm \
  actor_rollout_ref.rollout.n=16 \
  trainer.nnodes=2 \
  trainer.n_gpus_per_node=8 \
  trainer.default_local_dir="$OUT" \
  trainer.save_freq=20 \
  trainer.test_freq=20 \
  trainer.total_epochs=1 \
  "$@"
