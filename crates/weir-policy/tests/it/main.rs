//! The one integration test binary of the crate; a module for each area.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod check;
#[cfg(test)]
mod compare;
#[cfg(test)]
mod derived;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod language;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod successors;
#[cfg(test)]
mod world;
