"""The contract that scores are checked against: `attention_jax.check_score`."""
