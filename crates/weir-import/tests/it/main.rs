//! What is imported of exports, what the report says, and who sees what of it.

#[cfg(test)]
mod bad;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod immuta;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod ranger;
#[cfg(test)]
mod world;
