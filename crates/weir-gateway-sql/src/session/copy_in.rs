//! `COPY … FROM STDIN`: rows in, instead of out.

use bytes::Bytes;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::CopyInResponse;
use weir_guard::{Outside, Refusal, Truth};
use weir_query::{CopyIn, Intake};

use super::{Done, Session, Stop, end, supervised};
use crate::cancel::{Interrupt, Running};
use crate::sqlstate::{Told, code};
use crate::wire::Input;

/// What came while rows are taken.
enum Next {
    Data(Bytes),
    Done,
    /// The client gives up, and says why.
    Failed(String),
    Nothing,
}

impl Session {
    /// What is written is written at once, as all writes are.
    pub(super) async fn copy_in(&mut self, copy: &CopyIn) -> Done {
        self.check_write("COPY FROM")?;
        let mut running = self.begin();
        let copy = copy.asked(&self.asked);
        let begin = Box::pin(self.engine.intake(&self.caller, &copy));
        let mut intake = supervised(&mut self.connection, &mut running, begin).await??;
        let width = intake.width();
        let columns = i16::try_from(width).unwrap_or(i16::MAX);
        self.put(PgWireBackendMessage::CopyInResponse(CopyInResponse::new(0, columns, vec![0; width])));
        self.flush().await?;
        loop {
            let next = match self.next_of_copy(&mut running, &mut intake).await {
                Ok(next) => next,
                Err(Taken::Revoked(refusal)) => return Err(refusal.into()),
                Err(Taken::Interrupted(interrupt)) => return Err(given_up(intake, interrupt).await),
                Err(Taken::Wrong(stop, why)) => {
                    let why = Refusal::new(Outside::Cancelled, Truth::Cancelled, why);
                    intake.abort(why).await;
                    return Err(stop);
                }
            };
            match next {
                Next::Nothing => {}
                Next::Data(bytes) => {
                    let put = tokio::select! {
                        biased;
                        interrupt = running.interrupted() => Err(interrupt),
                        put = intake.put(&bytes) => Ok(put),
                    };
                    match put {
                        Ok(put) => put?,
                        Err(interrupt) => return Err(given_up(intake, interrupt).await),
                    }
                }
                Next::Done => {
                    let rows = Box::pin(intake.finish()).await?;
                    self.complete(format!("COPY {rows}"));
                    return Ok(());
                }
                Next::Failed(why) => {
                    let told = Told::error(code::QUERY_CANCELED, format!("COPY from stdin failed: {why}"));
                    intake.abort(Refusal::new(Outside::Cancelled, Truth::Cancelled, "the client gave up")).await;
                    return Err(told.into());
                }
            }
        }
    }

    async fn next_of_copy(&mut self, running: &mut Running, intake: &mut Intake) -> Result<Next, Taken> {
        let bytes_max = self.message_bytes_max;
        let input = tokio::select! {
            biased;
            interrupt = running.interrupted() => return Err(Taken::Interrupted(interrupt)),
            refusal = intake.withdrawn() => return Err(Taken::Revoked(refusal)),
            input = self.connection.input(bytes_max) => input.map_err(|_| Taken::Interrupted(Interrupt::Gone))?,
        };
        match input {
            Input::Frame { kind: b'd', body } => Ok(Next::Data(body)),
            Input::Frame { kind: b'c', .. } => Ok(Next::Done),
            Input::Frame { kind: b'f', body } => {
                let why = body.split(|byte| *byte == 0).next().unwrap_or_default();
                Ok(Next::Failed(String::from_utf8_lossy(why).into_owned()))
            }
            // Flush and Sync mean nothing here.
            Input::Frame { kind: b'H' | b'S', .. } => Ok(Next::Nothing),
            Input::Frame { .. } => {
                let told = Told::fatal(code::PROTOCOL_VIOLATION, "unexpected message during COPY from stdin");
                Err(Taken::Wrong(end(told), "another message came"))
            }
            Input::TooLong { .. } => {
                let told =
                    Told::error(code::PROGRAM_LIMIT, format!("message is longer than the limit of {bytes_max} bytes"));
                Err(Taken::Wrong(told.into(), "a message was too long"))
            }
            Input::Garbage => {
                let told = Told::fatal(code::PROTOCOL_VIOLATION, "malformed message");
                Err(Taken::Wrong(end(told), "a message was malformed"))
            }
            Input::Closed => Err(Taken::Interrupted(Interrupt::Gone)),
        }
    }
}

/// Why no more rows are taken.
enum Taken {
    Revoked(Refusal),
    Interrupted(Interrupt),
    Wrong(Stop, &'static str),
}

async fn given_up(intake: Intake, interrupt: Interrupt) -> Stop {
    match interrupt {
        Interrupt::Cancelled | Interrupt::TimedOut | Interrupt::Shutdown => intake.cancel().await,
        // Recorded as abandoned.
        Interrupt::Gone => drop(intake),
    }
    interrupt.into()
}
