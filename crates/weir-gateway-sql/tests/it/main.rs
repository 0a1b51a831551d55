//! The door itself, on a loopback port, over ports that hold nothing but one principal.

#[cfg(test)]
mod door;
#[cfg(test)]
mod reads;
#[cfg(test)]
mod world;
