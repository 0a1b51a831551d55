//! The built `weir` command, as people use it.

#[cfg(test)]
mod access;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod databases;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod derived;
#[cfg(test)]
mod flight;
#[cfg(test)]
mod flight_client;
#[cfg(test)]
mod flight_clients;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod import;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod lake;
#[cfg(test)]
mod places;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod pushed;
#[cfg(test)]
mod remote;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod templates;
#[cfg(test)]
mod views;
#[cfg(test)]
mod weir;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod worked_example;
#[cfg(test)]
mod workspaces;
#[cfg(test)]
mod writes;
