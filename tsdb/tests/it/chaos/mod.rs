//! Remotes that misbehave in every way there is, and databases that are stopped and killed while they send to them.

mod endpoint;
mod kinds;
mod lives;
mod outage;
mod socket;
