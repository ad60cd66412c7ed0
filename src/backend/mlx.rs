//! The in-process MLX engine as a backend.
