//! The simulated API: real HTTP/1.1 on a loopback port, histories made up from each target's name, and a bill.
//!
//! ```text
//! server (sockets, routes) -> decide (gateway, request, fault, debit) -> answer (history, item) -> body (how it travels)
//! ```
//!
//! It is there to be as strict, as slow and as unreliable as the real one, so that what works here works there, and
//! to keep a bill that the client cannot talk its way out of. It shares no code with the client side of this crate:
//! a misunderstanding in one must not be confirmed by the other. Nothing here reaches beyond the address it listens on.
//!
//! The histories are ours, not captured ones; their shape is the documented one.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

use crate::clock::Clock;

mod answer;
mod bill;
mod body;
mod decide;
pub mod faults;
mod gateway;
mod history;
mod item;
mod random;
mod request;
mod server;
pub mod settings;
mod values;

pub use self::{
    bill::Bill,
    faults::Faults,
    settings::{BodyForm, Latency, Price, RateLimit, Settings},
    values::NotASetting,
};
use self::{bill::Books, decide::Service};

/// A running simulated API. It ends when this is dropped.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    books: Books,
    task: JoinHandle<()>,
}

impl Sandbox {
    /// Listens on an address (port 0: any free one) and serves on the current runtime.
    ///
    /// Errors: the address cannot be listened on, or the shares of all faults together exceed 1.
    pub async fn start(listen: SocketAddr, settings: Settings) -> io::Result<Self> {
        // A little more than 1 is the rounding of shares that add up to it.
        if settings.faults.total() > 1.0 + 1e-9 {
            let total = settings.faults.total();
            let message = format!("fault probabilities add up to {total}; the maximum is 1");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let books = Books::default();
        let service = Service { settings, books: books.clone(), clock: Clock::system(), started: Instant::now() };
        let task = tokio::spawn(server::serve(listener, Arc::new(service)));
        Ok(Self { address, books, task })
    }

    /// The base URL for a client: `http://127.0.0.1:PORT/apis/v1`.
    pub fn url(&self) -> String {
        format!("http://{}/apis/v1", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bill as it stands; also served under `/bill`.
    pub fn bill(&self) -> Bill {
        self.books.bill()
    }

    /// Closes the port and every connection, finished or not.
    pub async fn stop(mut self) {
        self.task.abort();
        // It was aborted: the only result there is says so.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}
