//! The door itself, on a loopback port, over ports that hold nothing but one principal.

mod door;
mod reads;
mod world;
