//! The built `weir` command, as people use it.

#[cfg(test)]
mod access;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod import;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod weir;
#[cfg(test)]
mod wire;
