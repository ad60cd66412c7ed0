//! The prefix cache through the built binary, in memory and on the disk.

mod disk;
mod hybrid;
mod memory;
