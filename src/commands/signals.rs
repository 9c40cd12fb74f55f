//! SIGINT and SIGTERM: the first asks to stop, the second ends the program.

use tokio::{
    signal::unix::{Signal as Stream, SignalKind, signal},
    sync::watch,
    task::spawn_blocking,
};

use super::Failure;
use crate::summary::Signal;

/// Signals as they come. Each user sees every signal, also those that came before it looked.
#[derive(Clone, Debug)]
pub(super) struct Signals(watch::Receiver<Vec<Signal>>);

impl Signals {
    /// Takes the signals over from the system, which would end the program.
    pub(super) fn listen() -> Result<Self, Failure> {
        let stream =
            |kind| signal(kind).map_err(|error| Failure::unexpected(format!("cannot listen for signals: {error}")));
        let (interrupts, terminations) = (stream(SignalKind::interrupt())?, stream(SignalKind::terminate())?);
        let (sender, receiver) = watch::channel(Vec::new());
        tokio::spawn(forward(interrupts, terminations, sender));
        Ok(Self(receiver))
    }

    /// Waits for the first signal.
    pub(super) async fn first(mut self) -> Signal {
        self.nth(0).await
    }

    /// Waits for the second signal.
    pub(super) async fn second(mut self) -> Signal {
        self.nth(1).await
    }

    /// The first signal, if it has come.
    pub(super) fn came(&self) -> Option<Signal> {
        self.0.borrow().first().copied()
    }

    /// Runs what blocks (reading standard input, waiting for a lock, opening a large ledger) while nothing is in
    /// flight: the first signal ends the program at once.
    pub(super) async fn unless_stopped<T, E>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        E: Into<Failure> + Send + 'static,
    {
        tokio::select! {
            done = spawn_blocking(work) => done.map_err(Failure::unexpected)?.map_err(Into::into),
            signal = self.clone().first() => Err(Failure::interrupted(signal, "before anything was fetched or published")),
        }
    }

    async fn nth(&mut self, number: usize) -> Signal {
        match self.0.wait_for(|came| came.len() > number).await {
            Ok(came) => came[number],
            // The task that forwards lives as long as the runtime.
            Err(_) => std::future::pending().await,
        }
    }
}

async fn forward(mut interrupts: Stream, mut terminations: Stream, sender: watch::Sender<Vec<Signal>>) {
    loop {
        let came = tokio::select! {
            _ = interrupts.recv() => Signal::Interrupt,
            _ = terminations.recv() => Signal::Terminate,
        };
        sender.send_modify(|all| all.push(came));
    }
}
