//! Driving recorded traces against a backend in the cold, warm and cached states; comparing and timing the answers.
