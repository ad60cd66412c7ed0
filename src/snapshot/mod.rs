//! `.snap` files in insta's format: reading, writing, diffing, accepting, rejecting.
