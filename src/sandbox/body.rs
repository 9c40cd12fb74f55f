//! A response's body on its way out: whole, in two parts as a slow line brings it, dripping, or cut off.
//!
//! The call's receipt travels with the body: the call is in flight until the last piece has been taken, and an answer
//! that is dropped before that was paid for and lost.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::bill::Receipt;

/// Why a connection is ended without a whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Abort {
    #[error("reset before the answer")]
    Reset,
    #[error("cut off in the middle of the answer")]
    CutOff,
}

/// Pieces of a dripping body at most.
const DROPS: usize = 20;
/// Bodies up to this size travel in one piece.
const ONE_PIECE: usize = 16 * 1024;
/// Enough for the first part of a body to be on the wire before the line is cut.
const BEFORE_CUT: Duration = Duration::from_millis(5);

/// A body in pieces with a pause between them.
#[derive(Debug)]
pub(super) struct Outgoing {
    pieces: VecDeque<Bytes>,
    pause: Duration,
    sleeping: Option<Pin<Box<Sleep>>>,
    /// The length that is declared; `None`: chunked.
    declared: Option<u64>,
    cut: bool,
    receipt: Option<Receipt>,
}

impl Outgoing {
    /// The whole body, in two parts with `pause` between them.
    pub(super) fn whole(body: &Bytes, pause: Duration, receipt: Option<Receipt>) -> Self {
        let parts = if pause.is_zero() || body.len() <= ONE_PIECE { 1 } else { 2 };
        Self { declared: Some(body.len() as u64), ..Self::new(body, parts, pause, receipt) }
    }

    /// The whole body, a little at a time, without saying how long it will be.
    pub(super) fn dripping(body: &Bytes, time: Duration, receipt: Receipt) -> Self {
        Self::new(body, DROPS, time / 20, Some(receipt))
    }

    /// The first half of a body that is declared whole.
    pub(super) fn cut_off(body: &Bytes, receipt: Receipt) -> Self {
        let half = body.slice(..body.len() / 2);
        Self { declared: Some(body.len() as u64), cut: true, ..Self::new(&half, 1, BEFORE_CUT, Some(receipt)) }
    }

    fn new(body: &Bytes, parts: usize, pause: Duration, receipt: Option<Receipt>) -> Self {
        let size = body.len().div_ceil(parts).max(1);
        let pieces: VecDeque<Bytes> =
            (0..body.len()).step_by(size).map(|from| body.slice(from..body.len().min(from + size))).collect();
        let mut outgoing = Self { pieces, pause, sleeping: None, declared: None, cut: false, receipt };
        if outgoing.pieces.is_empty() {
            outgoing.finish();
        }
        outgoing
    }

    fn finish(&mut self) {
        if let Some(receipt) = self.receipt.take() {
            receipt.deliver();
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let this = self.get_mut();
        if let Some(sleeping) = &mut this.sleeping {
            ready!(sleeping.as_mut().poll(context));
            this.sleeping = None;
        }
        let Some(piece) = this.pieces.pop_front() else {
            return Poll::Ready(this.cut.then_some(Err(Abort::CutOff)));
        };
        if !this.pieces.is_empty() || this.cut {
            this.sleeping = Some(Box::pin(sleep(this.pause)));
        } else {
            this.finish();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && !self.cut
    }

    fn size_hint(&self) -> SizeHint {
        self.declared.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
