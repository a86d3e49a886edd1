"""Batched attention: one public function, interchangeable kernels behind it."""
