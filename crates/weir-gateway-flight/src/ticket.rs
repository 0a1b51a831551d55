//! Tickets: what a client shows to get the rows of a read that it was told of. A ticket says nothing but numbers; what
//! it is for lies in the session, and the ticket is bound to it.

use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tonic::Status;
use weir_model::Secret;

use crate::status::defect;

const ID: usize = 16;
const MAC: usize = 32;
/// Number of the ticket, number of the session, expiry, binding, HMAC-SHA-256 over all of these.
const LENGTH: usize = ID + ID + 8 + MAC + MAC;

pub(crate) type Id = [u8; ID];

/// What a ticket is bound to.
pub(crate) type Binding = [u8; MAC];

/// Makes tickets and knows its own. One per process.
pub(crate) struct Tickets {
    key: Secret,
    start: Instant,
    lifetime: Duration,
}

/// A ticket of ours, not expired.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) id: Id,
    pub(crate) session: Id,
    pub(crate) binding: Binding,
}

impl Tickets {
    pub(crate) fn new(lifetime: Duration) -> Self {
        let key: [u8; 32] = rand::random();
        Self { key: Secret::new(key), start: Instant::now(), lifetime }
    }

    /// When a ticket expires that is made now.
    pub(crate) fn expiry(&self) -> Instant {
        Instant::now() + self.lifetime
    }

    pub(crate) fn issue(&self, checked: &Checked, expires: Instant) -> Result<Vec<u8>, Status> {
        let expires = expires.saturating_duration_since(self.start).as_millis();
        let expires = u64::try_from(expires).unwrap_or(u64::MAX).to_be_bytes();
        let mut ticket = [&checked.id[..], &checked.session, &expires, &checked.binding].concat();
        let mac = self.mac("ticket", &[&ticket])?.finalize().into_bytes();
        ticket.extend_from_slice(&mac);
        Ok(ticket)
    }

    /// A digest under the process's key: it tells nobody what is in it.
    pub(crate) fn bind(&self, parts: &[&[u8]]) -> Result<Binding, Status> {
        Ok(self.mac("binding", parts)?.finalize().into_bytes().into())
    }

    /// What of it is true is told only of tickets that are ours.
    pub(crate) fn check(&self, ticket: &[u8]) -> Result<Checked, Status> {
        let invalid = || Status::invalid_argument("the ticket is not one of this server, or was altered");
        let (said, mac) = ticket.split_at_checked(LENGTH - MAC).ok_or_else(invalid)?;
        self.mac("ticket", &[said])?.verify_slice(mac).map_err(|_| invalid())?;
        let (id, rest) = said.split_first_chunk::<ID>().ok_or_else(invalid)?;
        let (session, rest) = rest.split_first_chunk::<ID>().ok_or_else(invalid)?;
        let (expires, rest) = rest.split_first_chunk::<8>().ok_or_else(invalid)?;
        let binding = rest.try_into().map_err(|_| invalid())?;
        if self.start.elapsed().as_millis() >= u128::from(u64::from_be_bytes(*expires)) {
            return Err(Status::failed_precondition("the ticket has expired"));
        }
        Ok(Checked { id: *id, session: *session, binding })
    }

    fn mac(&self, what: &str, parts: &[&[u8]]) -> Result<Hmac<Sha256>, Status> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose()).map_err(|e| defect(&e))?;
        mac.update(what.as_bytes());
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Ok(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(tickets: &Tickets) -> (Checked, Vec<u8>) {
        let checked = Checked { id: [1; ID], session: [2; ID], binding: tickets.bind(&[b"select 1"]).unwrap() };
        let issued = tickets.issue(&checked, tickets.expiry()).unwrap();
        (checked, issued)
    }

    #[test]
    fn a_ticket_is_known_and_no_other() {
        let tickets = Tickets::new(Duration::from_mins(1));
        let (checked, issued) = ticket(&tickets);
        assert_eq!(issued.len(), LENGTH);
        assert_eq!(tickets.check(&issued).unwrap(), checked);
        for at in 0..issued.len() {
            let mut altered = issued.clone();
            altered[at] ^= 1;
            assert!(tickets.check(&altered).unwrap_err().message().contains("altered"), "byte {at}");
        }
        for cut in 0..issued.len() {
            assert!(tickets.check(&issued[..cut]).is_err(), "{cut} bytes");
        }
        assert!(tickets.check(&[issued.clone(), vec![0]].concat()).is_err());
        // Another process has another key.
        assert!(Tickets::new(Duration::from_mins(1)).check(&issued).is_err());
    }

    #[test]
    fn a_ticket_expires() {
        let tickets = Tickets::new(Duration::ZERO);
        let (_, issued) = ticket(&tickets);
        assert!(tickets.check(&issued).unwrap_err().message().contains("expired"));
    }

    #[test]
    fn what_is_bound_cannot_be_shifted_between_parts() {
        let tickets = Tickets::new(Duration::ZERO);
        assert_ne!(tickets.bind(&[b"ab", b"c"]).unwrap(), tickets.bind(&[b"a", b"bc"]).unwrap());
    }
}
