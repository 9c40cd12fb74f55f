//! SIGINT and SIGTERM: the first asks to stop, the second ends the program.

use tokio::{
    signal::unix::{Signal as Stream, SignalKind, signal},
    sync::watch,
    task::spawn_blocking,
};

use super::Failure;
use crate::summary::Signal;

/// Runs the work of a command until it is done, or until a second signal comes, at a `moment` that its error names.
pub(super) fn block_on(suffix: &str, work: impl AsyncFnOnce(&Signals) -> Result<u8, Failure>) -> Result<u8, Failure> {
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        let signals = Signals::listen()?;
        tokio::select! {
            ended = work(&signals) => ended,
            signal = signals.clone().second() => Err(Failure::interrupted(signal, suffix)),
        }
    });
    // Don't let pending disk writes delay the exit.
    runtime.shutdown_background();
    ended
}

/// The signals that this process has received. Each clone sees all of them.
#[derive(Clone, Debug)]
pub(super) struct Signals(watch::Receiver<Vec<Signal>>);

impl Signals {
    /// Handles both signals from now on; by default they end the program.
    pub(super) fn listen() -> Result<Self, Failure> {
        let stream =
            |kind| signal(kind).map_err(|error| Failure::unexpected(format!("cannot listen for signals: {error}")));
        let (interrupts, terminations) = (stream(SignalKind::interrupt())?, stream(SignalKind::terminate())?);
        let (sender, receiver) = watch::channel(Vec::new());
        tokio::spawn(forward(interrupts, terminations, sender));
        Ok(Self(receiver))
    }

    pub(super) async fn first(mut self) -> Signal {
        self.nth(0).await
    }

    pub(super) async fn second(mut self) -> Signal {
        self.nth(1).await
    }

    /// The first signal, if there was one.
    pub(super) fn received(&self) -> Option<Signal> {
        self.0.borrow().first().copied()
    }

    /// Runs blocking work (reading standard input, waiting for a lock, opening a large ledger) while no call is in
    /// flight.
    pub(super) async fn unless_stopped<T, E>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        E: Into<Failure> + Send + 'static,
    {
        let working = async { spawn_blocking(work).await.map_err(Failure::unexpected)?.map_err(Into::into) };
        self.interruptible("before anything was fetched or published", working).await
    }

    /// Waits for `work`; the first signal ends the command at once, and its error ends with `suffix`.
    pub(super) async fn interruptible<T>(
        &self,
        suffix: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            done = work => done,
            signal = self.clone().first() => Err(Failure::interrupted(signal, suffix)),
        }
    }

    async fn nth(&mut self, number: usize) -> Signal {
        match self.0.wait_for(|came| came.len() > number).await {
            Ok(came) => came[number],
            // The forwarding task lives as long as the runtime.
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
