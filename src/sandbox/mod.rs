//! The simulated API: real HTTP/1.1 on a loopback port, histories generated from each target's name, and a bill.
//!
//! ```text
//! server (sockets, routes) -> decide (gateway, request, fault, debit) -> answer (history, item) -> body (transfer)
//! ```
//!
//! It is as strict, slow and unreliable as the real API, and keeps its bill independently of the client. It shares no
//! code with the client side of this crate, so that neither confirms a misunderstanding of the other. The histories are
//! generated, not captured; their shape is the documented one.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

use crate::clock::Clock;

mod answer;
mod bill;
mod body;
mod decide;
pub mod faults;
mod gateway;
mod item;
mod profile;
mod random;
mod request;
mod server;
pub mod settings;
mod values;

pub use self::{
    bill::Bill,
    faults::Faults,
    settings::{AcceptedForm, Latency, Price, RateLimit, Settings},
};
use self::{bill::SharedBill, decide::SimulatedApi};

/// A running simulated API, which stops when this is dropped.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    bill: SharedBill,
    task: JoinHandle<()>,
}

impl Sandbox {
    /// Listens on an address (port 0: any free one) and serves on the current runtime. It is an error if the
    /// probabilities of all faults exceed 1 together.
    pub async fn start(listen: SocketAddr, settings: Settings) -> io::Result<Self> {
        // Leaves room for rounding.
        if settings.faults.total() > 1.0 + 1e-9 {
            let total = settings.faults.total();
            let message = format!("fault probabilities add up to {total}; the maximum is 1");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let bill = SharedBill::default();
        let api = SimulatedApi { settings, bill: bill.clone(), clock: Clock::system(), started: Instant::now() };
        let task = tokio::spawn(server::serve(listener, Arc::new(api)));
        Ok(Self { address, bill, task })
    }

    /// The base URL for a client: `http://127.0.0.1:PORT/apis/v1`.
    pub fn url(&self) -> String {
        format!("http://{}/apis/v1", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bill so far; also served under `/bill`.
    pub fn bill(&self) -> Bill {
        self.bill.snapshot()
    }

    /// Closes the port and every connection.
    pub async fn stop(mut self) {
        self.task.abort();
        // The result only reports the abort.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}
